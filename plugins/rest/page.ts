/**
 * The OpenAPI document as a page to read: no script, nothing from elsewhere, so it works without
 * internet.
 *
 * @module
 */

type Json = Readonly<Record<string, unknown>>;

/** What the page may load: its own style and nothing else. */
export const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.1rem }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #f4f4f2; padding: .7rem 1rem; overflow-x: auto; border-radius: 6px }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700 }
.untyped { color: #8a4b00 }
@media (prefers-color-scheme: dark) {
  body { background: #161615; color: #e8e6e3 } pre { background: #232321 } a { color: #8ab4f8 }
  .untyped { color: #e0a75e }
}`;

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ESCAPES[sign]);
}

function schemas(title: string, content: unknown): string {
  let html = "";
  for (const [type, media] of Object.entries((content ?? {}) as Json)) {
    const { schema, ...rest } = media as Json;
    const bare = rest["x-patchbay-untyped"] === true;
    const shown = rest["x-patchbay-event"] ?? rest["x-patchbay-feedback"] ?? schema;
    html += `<p>${title} <code>${escape(type)}</code>` +
      (bare ? ` <span class="untyped">no schema is known</span></p>` : "</p>");
    if (!bare && shown !== undefined) {
      html += `<pre>${escape(JSON.stringify(shown, undefined, 2))}</pre>`;
    }
  }
  return html;
}

function operation(path: string, method: string, given: Json, origin: string): string {
  const { operationId, summary, parameters, requestBody, responses } = given as {
    operationId: string;
    summary?: string;
    parameters?: readonly { name: string; in: string; required?: boolean; schema?: unknown }[];
    requestBody?: { content?: unknown };
    responses: Readonly<Record<string, { description?: string; content?: unknown }>>;
  };
  const verb = method.toUpperCase();
  let html = `<section id="${escape(operationId)}"><h2><span class="method">${verb}</span>` +
    `<code>${escape(path)}</code></h2><p>${escape(summary ?? "")}</p>`;
  if (parameters !== undefined && parameters.length > 0) {
    html += "<ul>";
    for (const { name, in: where, required, schema } of parameters) {
      html += `<li><code>${escape(name)}</code> in the ${escape(where)}` +
        `${required === true ? "" : ", optional"}: ` +
        `<code>${escape(JSON.stringify(schema ?? {}))}</code></li>`;
    }
    html += "</ul>";
  }
  const body = requestBody === undefined ? "" : " --json '…'";
  const streams = JSON.stringify(responses).includes("text/event-stream") ? " -N" : "";
  html += `<pre>curl${streams} -X ${verb} '${escape(origin + path)}'${body}</pre>`;
  html += schemas("takes", requestBody?.content);
  for (const [status, { content }] of Object.entries(responses)) {
    if (status !== "default") html += schemas(`answers ${escape(status)}`, content);
  }
  return html + "</section>";
}

/**
 * The page.
 *
 * @param document The OpenAPI document.
 * @param origin The URL that it was asked for under.
 */
export function page(document: Json, origin: string): string {
  const { info, paths } = document as {
    info: { title: string };
    paths: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  };
  const title = escape(info.title);
  let list = "";
  let sections = "";
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, given] of Object.entries(methods)) {
      const id = escape(String(given.operationId));
      list += `<li><a href="#${id}"><span class="method">${method.toUpperCase()}</span>` +
        `<code>${escape(path)}</code></a></li>`;
      sections += operation(path, method, given, origin);
    }
  }
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
    `<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>` +
    `<h1>${title}</h1><p>The same for programs: <a href="/openapi.json">openapi.json</a></p>` +
    `<ul>${list}</ul>${sections}</body></html>`;
}
