// Everything below space but tab and line feed, delete, and the controls from 0x80 to 0x9f.
// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** A model's text for a terminal: what would move the cursor, change colours or press keys there is taken out. */
export function stripControls(text: string): string {
  return text.replace(CONTROLS, "");
}
