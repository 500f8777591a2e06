/** A listing over as many pages as the limit needs. */
import { Option } from "commander";
import { parseCount } from "./arguments.ts";

export interface LimitOption {
  readonly limit: number;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

const LARGEST_PAGE = 1_000;

export function limitOption(): Option {
  return new Option("--limit <count>", "the most to list").argParser(parseCount).default(100);
}

/** `nextPageToken` is empty when the listing is complete. */
export async function listAll<Item>(limit: number, fetchPage: (pageSize: number, pageToken: string) => Promise<Page<Item>>): Promise<{ items: Item[]; nextPageToken: string }> {
  const items: Item[] = [];
  let nextPageToken = "";
  do {
    const page = await fetchPage(Math.min(LARGEST_PAGE, Math.max(1, limit - items.length)), nextPageToken);
    items.push(...page.items);
    nextPageToken = page.nextPageToken;
  } while (nextPageToken !== "" && items.length < limit);
  return { items, nextPageToken };
}
