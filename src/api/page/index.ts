export { readChatPage } from "./chat-page.ts";
