/** The methods that the benchmark's client calls. */

export const SERVICE_PATH = "/sirsi.agent.v1.AgentService";
export const SEND_PATH = `${SERVICE_PATH}/SendMessage`;
/** The bare server's own, which hands bytes back unread. */
export const RAW_PATH = "/sirsi.bench.Raw/Echo";
