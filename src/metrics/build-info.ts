/** What a process runs. */
export interface BuildInfo {
  readonly noodlecoreVersion: string;
  /** Empty where the process has no engine. */
  readonly engineBuild: string;
}
