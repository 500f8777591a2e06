/** The page at `/`: what this host is, what it offers, and where to look next. Works without scripts. */

export interface HostDescription {
  readonly version: string;
  readonly hostId?: string;
  /** Where gRPC listens, as host:port. */
  readonly grpcAddress: string;
  readonly agentTypes: readonly {
    readonly typeId: string;
    readonly displayName: string;
    readonly version: string;
    readonly description: string;
  }[];
}

/** Sent as the page's own style alone: the security headers allow nothing from elsewhere. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.5rem; }
th, td { text-align: left; padding: 0.4rem 0.8rem 0.4rem 0; border-bottom: 1px solid; vertical-align: top; }
code { font-family: ui-monospace, monospace; }
`;

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}

function typeRows(host: HostDescription): string {
  return host.agentTypes
    .map(
      (type) =>
        `<tr><th scope="row"><code>${escapeHtml(type.typeId)}</code></th><td>${escapeHtml(type.displayName)}</td>` +
        `<td>${escapeHtml(type.version)}</td><td>${escapeHtml(type.description)}</td></tr>`,
    )
    .join("\n");
}

function typeTable(host: HostDescription): string {
  if (host.agentTypes.length === 0) {
    return "<p>No agent types yet. Put a <code>.wasm</code> file into the module directory, or run <code>sirsi module install FILE</code>.</p>";
  }
  return `<table>
<caption>Agent types</caption>
<thead><tr><th scope="col">Type</th><th scope="col">Name</th><th scope="col">Version</th><th scope="col">What it does</th></tr></thead>
<tbody>
${typeRows(host)}
</tbody>
</table>`;
}

/** `notReady` is empty when the host is ready, otherwise why not. */
export function statusPage(host: HostDescription, notReady: string): string {
  const state = notReady === "" ? "Ready to serve." : `Not ready: ${escapeHtml(notReady)}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sirsi host</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<main>
<h1>sirsi host</h1>
<p role="status">${state}</p>
<dl>
<dt>Version</dt><dd>${escapeHtml(host.version)}</dd>
${host.hostId === undefined ? "" : `<dt>Host</dt><dd><code>${escapeHtml(host.hostId)}</code></dd>\n`}<dt>gRPC</dt><dd><code>${escapeHtml(host.grpcAddress)}</code></dd>
</dl>
${typeTable(host)}
<h2>For machines</h2>
<ul>
<li><a href="/metrics">Metrics</a> in the Prometheus text format</li>
<li><a href="/healthz">Liveness</a>: does the process answer</li>
<li><a href="/readyz">Readiness</a>: does a message get through</li>
</ul>
</main>
</body>
</html>
`;
}
