/** Finds the stream, or makes it. */
import { DiscardPolicy, RetentionPolicy, StorageType, nanos, type StreamConfig, type StreamInfo } from "nats";
import { coversPattern } from "../subject.ts";
import { JS, apiFailure, type ApiFault, type ApiOutcome, type JetStreamApi } from "./jetstream-api.ts";

/** What a stream is made with. One that is there keeps what it has. */
export interface StreamPlan {
  readonly name: string;
  /** The pattern of all that is appended. */
  readonly subjects: string;
  readonly maxPerSubject: number;
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  /** How long the server knows an id again. */
  readonly duplicateMs: number;
  /** Three copies, where the cluster has the servers for them. */
  readonly clustered: boolean;
}

export interface FoundStream {
  readonly kind: "found";
  readonly name: string;
  /** When it was made: one of another time has other sequences. */
  readonly created: string;
  readonly replicas: number;
  /** Infinity for no limit. */
  readonly maxPerSubject: number;
  readonly duplicateMs: number;
}

export type SetupOutcome = FoundStream | { readonly kind: "unusable"; readonly reason: string };

const NO_JETSTREAM = new Set<number>([JS.notEnabled, JS.notEnabledForAccount]);
/** Faults that stay until somebody changes the server or its account. */
const NO_ROOM = new Set<number>([JS.insufficientResources, JS.insufficientStorage, JS.accountStreams, JS.accountStorage]);
const NO_COPIES = new Set<number>([JS.noSuitablePeers, JS.noReplicasOutsideOfCluster, JS.insufficientResources]);
const CLUSTER_COPIES = 3;

/** BUS_NO_RESPONDERS from a server without JetStream; any other error may pass. */
export async function setUpStream(api: JetStreamApi, plan: StreamPlan): Promise<SetupOutcome> {
  const present = await api.streamInfo(plan.name);
  if (present.kind === "answer") return check(present.answer, plan);
  if (NO_JETSTREAM.has(present.fault.code)) return { kind: "unusable", reason: `JetStream is off for this host's account (${present.fault.description})` };
  if (present.fault.code !== JS.streamNotFound) throw apiFailure(`tell about the stream ${plan.name}`, present.fault);
  return await make(api, plan);
}

async function make(api: JetStreamApi, plan: StreamPlan): Promise<SetupOutcome> {
  let made = await create(api, plan, plan.clustered ? CLUSTER_COPIES : 1);
  if (plan.clustered && made.kind === "fault" && NO_COPIES.has(made.fault.code)) made = await create(api, plan, 1);
  if (made.kind === "answer") return check(made.answer, plan);
  const { fault } = made;
  if (fault.code === JS.nameInUse) return await another(api, plan.name, plan);
  if (fault.code === JS.subjectsOverlap) return await byItsSubjects(api, plan, fault);
  if (NO_ROOM.has(fault.code)) {
    return { kind: "unusable", reason: `the NATS server has no room for the stream ${plan.name} of ${plan.maxBytes} bytes (${fault.description}); give JetStream more (max_file_store), or make a smaller stream of that name on ${plan.subjects} yourself` };
  }
  throw apiFailure(`make the stream ${plan.name}`, fault);
}

function create(api: JetStreamApi, plan: StreamPlan, replicas: number): Promise<ApiOutcome<StreamInfo>> {
  const config: Partial<StreamConfig> & { readonly name: string } = {
    name: plan.name,
    description: "Events of sirsi's sessions",
    subjects: [plan.subjects],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_msgs_per_subject: plan.maxPerSubject,
    max_msgs: -1,
    max_consumers: -1,
    max_age: nanos(plan.maxAgeMs),
    max_bytes: plan.maxBytes,
    max_msg_size: -1,
    duplicate_window: nanos(plan.duplicateMs),
    num_replicas: replicas,
  };
  return api.createStream(config);
}

/** Another host made it at the same time, or somebody has another one of its subjects. */
async function another(api: JetStreamApi, name: string, plan: StreamPlan): Promise<SetupOutcome> {
  const outcome = await api.streamInfo(name);
  if (outcome.kind === "answer") return check(outcome.answer, plan);
  throw apiFailure(`tell about the stream ${name}`, outcome.fault);
}

async function byItsSubjects(api: JetStreamApi, plan: StreamPlan, fault: ApiFault): Promise<SetupOutcome> {
  const outcome = await api.streamsOf(plan.subjects);
  const [name, ...more] = outcome.kind === "answer" ? (outcome.answer.streams ?? []) : [];
  if (name !== undefined && more.length === 0) return await another(api, name, plan);
  return { kind: "unusable", reason: `other streams have subjects within ${plan.subjects} (${fault.description}${more.length === 0 ? "" : `: ${[name, ...more].join(", ")}`}); take those subjects from them` };
}

function check({ config, created }: StreamInfo, plan: StreamPlan): SetupOutcome {
  if (!config.subjects.some((subject) => coversPattern(subject, plan.subjects))) {
    return { kind: "unusable", reason: `the stream ${config.name} is there and does not take ${plan.subjects}; add that to its subjects (nats stream edit ${config.name}), or give the fleet another event_bus.topic_prefix` };
  }
  if (config.retention !== RetentionPolicy.Limits) {
    return { kind: "unusable", reason: `the stream ${config.name} lets go of what was read (retention ${config.retention}), and events have many readers; make it anew with retention limits` };
  }
  const { max_msgs_per_subject: perSubject } = config;
  return {
    kind: "found",
    name: config.name,
    created,
    replicas: config.num_replicas,
    maxPerSubject: perSubject > 0 ? perSubject : Infinity,
    duplicateMs: config.duplicate_window / 1e6,
  };
}
