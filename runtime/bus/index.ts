export type * from "./bus.ts";
export { MAX_SUBJECT_CHARS, isPattern, isSubject, matchesSubject, requirePattern, requireSubject } from "./subject.ts";
