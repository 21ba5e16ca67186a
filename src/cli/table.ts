import { must } from "../common/index.ts";

export interface Column {
  readonly title: string;
  /** Numbers read best to the right. @default "left" */
  readonly align?: "left" | "right";
}

/** Renders rows under their titles, columns padded to their widest cell; ends with a line break. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, index) =>
    Math.max(column.title.length, ...rows.map((row) => must(row[index], `cell ${index}`).length)),
  );
  const renderRow = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => {
        const width = must(widths[index], `column ${index}`);
        return columns[index]?.align === "right" ? cell.padStart(width) : cell.padEnd(width);
      })
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return `${[renderRow(columns.map((column) => column.title)), rule, ...rows.map(renderRow)].join("\n")}\n`;
}
