/**
 * For tests: certificates as PEM texts, made by `openssl` in a folder that is gone afterwards.
 *
 * @module
 */

/** A certificate and its key. */
export interface Pair {
  /** The certificate. */
  readonly cert: string;
  /** The key. */
  readonly key: string;
}

/** An authority, and what it has signed. */
export interface Authority {
  /** The authority's certificate. */
  readonly ca: string;
  /** For a server called `localhost`, at 127.0.0.1. */
  readonly server: Pair;
  /** For a client called `desk`. */
  readonly client: Pair;
}

/** What `requireOrIgnore` asks. */
export async function hasOpenssl(): Promise<boolean> {
  return (await new Deno.Command("openssl", { args: ["version"] }).output()).success;
}

async function openssl(folder: string, ...args: readonly string[]): Promise<void> {
  const command = new Deno.Command("openssl", { args: [...args], cwd: folder });
  const { success, stderr } = await command.output();
  if (!success) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}

const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Makes an authority with a server's and a client's certificate. */
export async function makeAuthority(): Promise<Authority> {
  const folder = await Deno.makeTempDir({ prefix: "pb-ca-" });
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  const sign = async (name: string, extension: string): Promise<Pair> => {
    await Deno.writeTextFile(`${folder}/${name}.ext`, extension);
    const request = ["-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`];
    await openssl(folder, "req", ...NEW_KEY, ...request);
    const from = ["-req", "-in", `${name}.csr`, "-CA", "ca.pem", "-CAkey", "ca.key"];
    const to = ["-CAcreateserial", "-days", "2", "-extfile", `${name}.ext`, "-out", `${name}.pem`];
    await openssl(folder, "x509", ...from, ...to);
    return { cert: await read(`${name}.pem`), key: await read(`${name}.key`) };
  };
  try {
    const own = ["-days", "2", "-subj", "/CN=Patchbay test authority"];
    await openssl(
      folder,
      "req",
      "-x509",
      ...NEW_KEY,
      ...own,
      "-keyout",
      "ca.key",
      "-out",
      "ca.pem",
    );
    return {
      ca: await read("ca.pem"),
      server: await sign("localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\n"),
      client: await sign("desk", "extendedKeyUsage=clientAuth\n"),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
