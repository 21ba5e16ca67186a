export { makeRandom } from "./seeded-random.ts";
export { ShapedLink } from "./shaped-link.ts";
export type { Toxic } from "./toxics.ts";
