export { type ModelHeader, readModelHeader } from "./header-only.ts";
export type { ProfileOptions } from "./options.ts";
export { profileModel, type ProfileProgress } from "./profile-model.ts";
