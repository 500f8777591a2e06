export type * from "./bus.ts";
export type * from "./event-stream.ts";
export { MAX_SUBJECT_CHARS, coversPattern, isPattern, isSubject, matchesSubject, requirePattern, requireSubject } from "./subject.ts";
