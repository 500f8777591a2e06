/** What crosses between the host and its admission thread. */
import type { Fault } from "../core/fault-points.ts";
import type { AdmissionOutcome, AdmitOptions } from "./admission-pipeline.ts";
import type { AdmissionPolicy } from "./admit.ts";

/** workerData of the thread. */
export interface AdmissionThreadData {
  readonly cacheDir: string;
  readonly cacheMaxBytes: number;
  readonly moduleMaxBytes: number;
  /** Of the host's own thread; null but in tests. */
  readonly fault: Fault | null;
}

export interface AdmissionRequest {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly options: AdmitOptions;
  readonly policy: AdmissionPolicy;
}

export type AdmissionReply =
  | { readonly kind: "ready" }
  | {
      readonly kind: "done";
      readonly id: number;
      readonly outcome: AdmissionOutcome;
      readonly preparerLoaded: boolean;
      /** Binaryen failed half-way; its memory cannot be trusted and the thread is to be replaced. */
      readonly spoilt: boolean;
    };
