/** The method of the bare server that hands bytes back unread. */
export const RAW_PATH = "/sirsi.bench.Raw/Echo";
