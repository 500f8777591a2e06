/** Headers that the ledger adds to a request for its handler. A client that sends them is not believed. */

/** How many bytes the metadata has; there only when they are too many. */
export const OVERSIZE_HEADER = "sirsi-oversize-metadata";
/** There when the reply may be compressed. */
export const ACCEPTS_GZIP_HEADER = "sirsi-accepts-gzip";
