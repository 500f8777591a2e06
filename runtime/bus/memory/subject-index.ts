/**
 * Which values a subject selects. Exact subjects are in a map, so that a publish
 * costs the same whether ten or ten thousand are subscribed; patterns with
 * wildcards are in a tree with a level for each token.
 */

interface Node<Value> {
  readonly literals: Map<string, Node<Value>>;
  /** Below a `*`. */
  any: Node<Value> | null;
  /** Patterns that end here. */
  readonly here: Set<Value>;
  /** Patterns that end in a `>` after this. */
  readonly rest: Set<Value>;
}

function emptyNode<Value>(): Node<Value> {
  return { literals: new Map(), any: null, here: new Set(), rest: new Set() };
}

function isEmpty(node: Node<unknown>): boolean {
  return node.literals.size === 0 && node.any === null && node.here.size === 0 && node.rest.size === 0;
}

function hasWildcard(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes(">");
}

/** Subjects whose answer is remembered. */
const ASKED_MAX = 16_384;

export class SubjectIndex<Value> {
  readonly #exact = new Map<string, Set<Value>>();
  readonly #root: Node<Value> = emptyNode();
  readonly #asked = new Map<string, boolean>();

  add(pattern: string, value: Value): void {
    this.#asked.clear();
    if (hasWildcard(pattern)) {
      this.#add(this.#root, pattern.split("."), 0, value);
      return;
    }
    const values = this.#exact.get(pattern);
    if (values === undefined) this.#exact.set(pattern, new Set([value]));
    else values.add(value);
  }

  remove(pattern: string, value: Value): void {
    this.#asked.clear();
    if (hasWildcard(pattern)) {
      this.#remove(this.#root, pattern.split("."), 0, value);
      return;
    }
    const values = this.#exact.get(pattern);
    if (values?.delete(value) === true && values.size === 0) this.#exact.delete(pattern);
  }

  /** Values of all patterns that select the subject; those of exact ones first, each kind oldest first. */
  match(subject: string): Value[] {
    const found = [...(this.#exact.get(subject) ?? [])];
    if (!isEmpty(this.#root)) this.#collect(this.#root, subject.split("."), 0, found);
    return found;
  }

  /** Whether `match` would find anything. Asked for every event, and so remembered until a pattern comes or goes. */
  has(subject: string): boolean {
    let known = this.#asked.get(subject);
    if (known === undefined) {
      known = this.match(subject).length > 0;
      if (this.#asked.size >= ASKED_MAX) this.#asked.clear();
      this.#asked.set(subject, known);
    }
    return known;
  }

  /** True when nothing is left, inner nodes included. */
  get empty(): boolean {
    return this.#exact.size === 0 && isEmpty(this.#root);
  }

  #add(node: Node<Value>, tokens: readonly string[], at: number, value: Value): void {
    const token = tokens[at];
    if (token === undefined) node.here.add(value);
    else if (token === ">") node.rest.add(value);
    else this.#add(this.#makeChild(node, token), tokens, at + 1, value);
  }

  #makeChild(node: Node<Value>, token: string): Node<Value> {
    if (token === "*") return (node.any ??= emptyNode());
    let child = node.literals.get(token);
    if (child === undefined) {
      child = emptyNode();
      node.literals.set(token, child);
    }
    return child;
  }

  #remove(node: Node<Value>, tokens: readonly string[], at: number, value: Value): void {
    const token = tokens[at];
    if (token === undefined) {
      node.here.delete(value);
      return;
    }
    if (token === ">") {
      node.rest.delete(value);
      return;
    }
    const child = token === "*" ? node.any : node.literals.get(token);
    if (child === null || child === undefined) return;
    this.#remove(child, tokens, at + 1, value);
    if (!isEmpty(child)) return;
    if (token === "*") node.any = null;
    else node.literals.delete(token);
  }

  #collect(node: Node<Value>, tokens: readonly string[], at: number, found: Value[]): void {
    const token = tokens[at];
    if (token === undefined) {
      found.push(...node.here);
      return;
    }
    found.push(...node.rest);
    const literal = node.literals.get(token);
    if (literal !== undefined) this.#collect(literal, tokens, at + 1, found);
    if (node.any !== null) this.#collect(node.any, tokens, at + 1, found);
  }
}
