/** Who the NATS bus is to a server, and which server it takes for the right one. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nkeys } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { NatsLogin, NatsTls } from "../../runtime/bus/nats/index.ts";
import { NatsRig } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";
import { TestAuthority } from "../support/test-certificates.ts";

let directory: string;
let rig: NatsRig;
beforeAll(() => void (directory = mkdtempSync(join(tmpdir(), "sirsi-nats-login-"))));
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => void (rig = new NatsRig()));
afterEach(() => rig[Symbol.asyncDispose]());

const refused = (hint: string) => expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(hint) });

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

type KeyPair = ReturnType<typeof nkeys.createUser>;
const seedOf = (pair: KeyPair) => new TextDecoder().decode(pair.getSeed());

/** A claim of the decentralised login, signed by `issuer`. */
function claim(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${encode({ typ: "JWT", alg: "ed25519-nkey" })}.${encode({ jti: name, iat: 1, iss: issuer.getPublicKey(), sub: subject.getPublicKey(), name, nats })}`;
  return `${body}.${Buffer.from(issuer.sign(new TextEncoder().encode(body))).toString("base64url")}`;
}

/** A server's configuration that trusts one operator, and the creds of a user below it. */
function operatorSetup() {
  const [operator, system, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount(), nkeys.createUser()];
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const accounts = [system, account].map((one) => `${one.getPublicKey()}: "${claim(operator, one, "account", { type: "account", version: 2, limits })}"`);
  const config = `operator: "${claim(operator, operator, "operator", { type: "operator", version: 2, system_account: system.getPublicKey() })}"
    resolver: MEMORY\nresolver_preload: { ${accounts.join("\n")} }`;
  const credsOf = (one: KeyPair) => `-----BEGIN NATS USER JWT-----\n${claim(account, one, "user", { type: "user", version: 2, subs: -1, data: -1, payload: -1 })}\n------END NATS USER JWT------\n
-----BEGIN USER NKEY SEED-----\n${seedOf(one)}\n------END USER NKEY SEED------\n`;
  return { config, creds: credsOf(user), foreign: credsOf(user).replace(seedOf(user), seedOf(nkeys.createUser())) };
}

const user = nkeys.createUser();
const setup = operatorSetup();

interface LoginCase {
  readonly kind: string;
  readonly config: string;
  readonly right: () => NatsLogin;
  readonly wrong: () => NatsLogin;
}

const CASES: readonly LoginCase[] = [
  { kind: "a token", config: `authorization { token: "open sesame" }`, right: () => ({ kind: "token", token: "open sesame" }), wrong: () => ({ kind: "token", token: "guess" }) },
  {
    kind: "user and password",
    config: `authorization { user: host, password: "s3cret" }`,
    right: () => ({ kind: "password", user: "host", password: "s3cret" }),
    wrong: () => ({ kind: "password", user: "host", password: "guess" }),
  },
  {
    kind: "an nkey",
    config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`,
    right: () => ({ kind: "nkey", seedFile: file("user.nk", `${seedOf(user)}\n`) }),
    wrong: () => ({ kind: "nkey", seedFile: file("other.nk", seedOf(nkeys.createUser())) }),
  },
  {
    kind: "creds",
    config: setup.config,
    right: () => ({ kind: "creds", file: file("user.creds", setup.creds) }),
    wrong: () => ({ kind: "creds", file: file("foreign.creds", setup.foreign) }),
  },
];

describe.each(CASES)("a server that asks for $kind", ({ config, right, wrong }) => {
  let server: RunningServer;
  beforeAll(async () => {
    server = await startNats({ config });
  });
  afterAll(() => server.stop());

  it("is used with the right one", async () => {
    const { bus } = await rig.open(server.url, { login: right() });
    bus.subscribe("ask", (message) => message.respond(message.data));
    expect((await bus.request("ask", Uint8Array.of(7), { timeoutMs: 10_000 })).data).toEqual(Uint8Array.of(7));
  });

  it.each([["a wrong one", wrong], ["none", (): NatsLogin => ({ kind: "none" })]])("refuses %s, and opening says so at once", async (_which, login) => {
    await expect(rig.open(server.url, { login: login(), connectTimeoutMs: 3_600_000 })).rejects.toEqual(refused("refuses this host's login"));
  });
});

describe("a login from a file", () => {
  it("that is missing or holds something else is refused, and what it holds is not told", async () => {
    await using server = await startNats();
    const junk = file("junk", "hunter2");
    await expect(rig.open(server.url, { login: { kind: "nkey", seedFile: join(directory, "missing") } })).rejects.toEqual(refused("missing"));
    for (const login of [{ kind: "nkey", seedFile: junk }, { kind: "creds", file: junk }] as const) {
      const error = await rig.open(server.url, { login }).catch((thrown: unknown) => thrown);
      expect(error).toEqual(refused(junk));
      expect(JSON.stringify(error)).not.toContain("hunter2");
    }
  });

  it("is read anew when connecting again, which goes on while the login is refused", async () => {
    const next = nkeys.createUser();
    const only = (pair: KeyPair) => `authorization { users: [ { nkey: ${pair.getPublicKey()} } ] }`;
    const seedFile = file("rotated.nk", seedOf(user));
    await using first = await startNats({ config: only(user) });
    const { bus, logged } = await rig.open(first.url, { login: { kind: "nkey", seedFile } });
    await first.kill();
    await using _second = await startNats({ config: only(next), port: first.port });
    await vi.waitFor(() => expect(logged).toContain("NATS is out of reach; trying on"), { timeout: 10_000, interval: 5 });
    expect(bus.status).toBe("reconnecting");
    file("rotated.nk", seedOf(next));
    await vi.waitFor(() => expect(bus.status).toBe("connected"), { timeout: 10_000, interval: 5 });
  });
});

describe("a server with TLS", () => {
  let authority: TestAuthority;
  let stranger: TestAuthority;
  const servers: RunningServer[] = [];
  beforeAll(() => {
    authority = new TestAuthority(directory, "authority");
    stranger = new TestAuthority(directory, "stranger");
  });
  afterEach(() => Promise.all(servers.splice(0).map((server) => server.stop())));

  async function start(names: readonly string[], more = ""): Promise<string> {
    const { certFile, keyFile } = authority.issue("server", ...names);
    const server = await startNats({ config: `tls { cert_file: "${certFile}", key_file: "${keyFile}"\n${more} }` });
    servers.push(server);
    return `127.0.0.1:${server.port}`;
  }

  const open = (url: string, tls?: NatsTls) => rig.open(url, { connectTimeoutMs: 3_600_000, ...(tls !== undefined && { tls }) });

  it("is taken when its certificate is of the authority and names it", async () => {
    const address = await start(["IP:127.0.0.1"]);
    const { bus } = await open(`tls://${address}`, { caFile: authority.caFile });
    await bus.flush();
    const { bus: same } = await open(`nats://${address}`, { caFile: authority.caFile });
    await same.flush();
  });

  it("is refused when another authority vouches for it, or one that nobody knows", async () => {
    const address = await start(["IP:127.0.0.1"]);
    await expect(open(`tls://${address}`, { caFile: stranger.caFile })).rejects.toEqual(refused("TLS"));
    await expect(open(`tls://${address}`)).rejects.toEqual(refused("TLS"));
  });

  it("is refused when its certificate names somebody else, localhost for an address included", async () => {
    const address = await start(["DNS:localhost"]);
    await expect(open(`tls://${address}`, { caFile: authority.caFile })).rejects.toEqual(refused("TLS"));
    const { bus } = await open(`tls://${address.replace("127.0.0.1", "localhost")}`, { caFile: authority.caFile });
    await bus.flush();
  });

  it("is not talked to in the clear, and one without TLS not when TLS is asked for", async () => {
    await expect(open(`nats://${await start(["IP:127.0.0.1"])}`)).rejects.toEqual(refused("tls://"));
    await using plain = await startNats();
    await expect(open(plain.url.replace("nats:", "tls:"))).rejects.toEqual(refused("TLS"));
  });

  it("that asks for a certificate gets the host's, and refuses without", async () => {
    const address = await start(["IP:127.0.0.1"], `ca_file: "${authority.caFile}"\nverify: true`);
    const { bus } = await open(`tls://${address}`, { caFile: authority.caFile, ...authority.issue("host") });
    await bus.flush();
    await expect(rig.open(`tls://${address}`, { tls: { caFile: authority.caFile }, connectTimeoutMs: 50 })).rejects.toThrow(address);
  });
});
