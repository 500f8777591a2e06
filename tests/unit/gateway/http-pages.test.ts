import { describe, expect, it } from "vitest";
import { isOwnHost } from "../../../runtime/gateway/http/host-check.ts";
import { statusPage } from "../../../runtime/gateway/http/status-page.ts";

describe("a Host header", () => {
  const listen = { host: "127.0.0.1", port: 8080 };

  it.each(["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "127.0.0.2:8080"])("of %s names a server on loopback", (header) => {
    expect(isOwnHost(header, listen)).toBe(true);
  });

  it.each([undefined, "", "evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:8080", "127.0.0.1:8080@evil.example", "[localhost]:8080", "::1:8080"])(
    "of %j does not",
    (header) => {
      expect(isOwnHost(header, listen)).toBe(false);
    },
  );

  it("may leave out the port that HTTP has by itself, and name the address listened on", () => {
    expect(isOwnHost("localhost", { host: "localhost", port: 80 })).toBe(true);
    expect(isOwnHost("Host.Example:8080", { host: "host.example", port: 8080 })).toBe(true);
  });
});

describe("the status page", () => {
  const host = { version: "1.2.3", grpcAddress: "127.0.0.1:50051", agentTypes: [] };

  it("says how to get a first agent type when there is none", () => {
    expect(statusPage(host, "")).toContain("sirsi module install FILE");
  });

  it("shows what modules say of themselves as text, never as markup", () => {
    const type = { typeId: "a", displayName: `<script>alert("x")</script>`, version: "1 & 2", description: "it's" };
    const page = statusPage({ ...host, hostId: "h<1>", agentTypes: [type] }, "the <store> is gone");
    expect(page).not.toContain("<script>");
    expect(page).toContain("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;");
    for (const text of ["1 &amp; 2", "it&#39;s", "h&lt;1&gt;", "Not ready: the &lt;store&gt; is gone"]) expect(page).toContain(text);
  });

  it("can be read by a screen reader: language, title, headings, captions, scopes", () => {
    const page = statusPage({ ...host, agentTypes: [{ typeId: "echo", displayName: "Echo", version: "1", description: "Says it again." }] }, "");
    for (const part of ['<html lang="en">', "<title>", "<main>", "<h1>", "<caption>", 'scope="col"', '<th scope="row">', 'role="status"']) expect(page).toContain(part);
  });
});
