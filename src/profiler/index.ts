export type { ProfileOptions } from "./options.ts";
export { profileModel, type ProfileProgress } from "./profile-model.ts";
