export { readEventId } from "./event-position.ts";
export { type GenerationIdentity, type GenerationState, identify, LiveGeneration } from "./live-generation.ts";
export { LiveGenerations } from "./live-generations.ts";
export type { LiveStream } from "./live-stream.ts";
export { type ClaimedReply, MemoryReplyBook, type ReplyBook, type ReplyKey } from "./reply-book.ts";
