/** Certificates of an authority made for one test, by the machine's openssl (3.0 or newer). */
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export class TestAuthority {
  readonly #directory: string;
  /** Its own certificate. */
  readonly caFile: string;
  readonly #keyFile: string;

  constructor(directory: string, name: string) {
    this.#directory = directory;
    this.caFile = join(directory, `${name}.pem`);
    this.#keyFile = join(directory, `${name}.key`);
    openssl(["-keyout", this.#keyFile, "-out", this.caFile, "-subj", `/CN=${name}`]);
  }

  /** `names` as openssl writes them: `IP:127.0.0.1`, `DNS:localhost`. */
  issue(name: string, ...names: readonly string[]): { readonly certFile: string; readonly keyFile: string } {
    const [certFile, keyFile] = [join(this.#directory, `${name}.pem`), join(this.#directory, `${name}.key`)];
    const of = names.length === 0 ? [] : ["-addext", `subjectAltName=${names.join(",")}`];
    openssl(["-keyout", keyFile, "-out", certFile, "-subj", `/CN=${name}`, "-CA", this.caFile, "-CAkey", this.#keyFile, "-addext", "basicConstraints=critical,CA:FALSE", ...of]);
    return { certFile, keyFile };
  }
}

function openssl(options: readonly string[]): void {
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", ...options], { stdio: "pipe" });
}
