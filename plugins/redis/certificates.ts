/**
 * For tests: certificates, made by `openssl` in a temporary folder.
 *
 * @module
 */

/** A certificate and its key: files. */
export interface Pair {
  /** The certificate. */
  readonly cert: string;
  /** The key. */
  readonly key: string;
}

/** An authority, and what it has signed. */
export interface Authority extends AsyncDisposable {
  /** The authority's certificate: a file. */
  readonly ca: string;
  /** For a server called `localhost`, at 127.0.0.1. */
  readonly server: Pair;
  /** For a client. */
  readonly client: Pair;
}

/** What `requireOrIgnore` asks. */
export async function probeOpenssl(): Promise<boolean> {
  try {
    return (await new Deno.Command("openssl", { args: ["version"] }).output()).success;
  } catch {
    return false;
  }
}

async function openssl(args: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args: [...args] }).output();
  if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

/** Makes an authority with a server's and a client's certificate. */
export async function makeAuthority(): Promise<Authority> {
  const folder = await Deno.makeTempDir({ prefix: "pb-ca-" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const ca = `${folder}/ca.pem`;
  await openssl([
    ...["req", "-x509", ...key, "-days", "2", "-subj", "/CN=Patchbay test authority"],
    ...["-keyout", `${folder}/ca.key`, "-out", ca],
  ]);
  const sign = async (name: string, extensions: string): Promise<Pair> => {
    const pair = { cert: `${folder}/${name}.pem`, key: `${folder}/${name}.key` };
    await Deno.writeTextFile(`${folder}/${name}.ext`, extensions);
    await openssl([
      ...[
        "req",
        ...key,
        "-subj",
        `/CN=${name}`,
        "-keyout",
        pair.key,
        "-out",
        `${folder}/${name}.csr`,
      ],
    ]);
    await openssl([
      ...["x509", "-req", "-in", `${folder}/${name}.csr`, "-CA", ca, "-CAkey", `${folder}/ca.key`],
      ...["-CAcreateserial", "-days", "2", "-extfile", `${folder}/${name}.ext`, "-out", pair.cert],
    ]);
    return pair;
  };
  return {
    ca,
    server: await sign("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n"),
    client: await sign("client", "extendedKeyUsage=clientAuth\n"),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}
