/**
 * One record of a CSV file with the line where it begins, counted from 1; or the reason why it
 * cannot be read.
 */
export type CsvRecord =
  | { readonly line: number; readonly fields: readonly string[] }
  | { readonly line: number; readonly problem: string };

/**
 * The records of a CSV text by RFC 4180, in order: commas, quotes doubled inside quotes, line
 * breaks inside quotes, CRLF or LF. Empty lines are skipped. After an unreadable record, reading
 * continues at the next line, so a stray quote does not swallow the rest.
 */
export function* readCsv(text: string): Generator<CsvRecord> {
  let line = 1;
  for (let at = 0; at < text.length; ) {
    const end = endOfLine(text, at);
    const content = withoutReturn(text.slice(at, end));
    const quoted = content.includes('"') ? readQuoted(text, at) : undefined;
    if (quoted === undefined) {
      if (content.includes("\r")) yield { line, problem: BARE_RETURN };
      else if (content !== "") yield { line, fields: content.split(",") };
    } else if (quoted.problem === undefined) yield { line, fields: quoted.fields };
    else yield { line, problem: quoted.problem };
    const stop = quoted !== undefined && quoted.problem === undefined ? quoted.end : end;
    for (let next = at; next <= stop && next < text.length; next += 1) {
      next = endOfLine(text, next);
      line += 1;
    }
    at = stop + 1;
  }
}

const BARE_RETURN = "has a carriage return that is not followed by a line feed";
const QUOTE_INSIDE = "has a quote inside an unquoted field";
const NOT_CLOSED = "has a quote that is never closed";
const AFTER_QUOTE = "has text after a closing quote";

/** A record with quotes: its fields, and the offset where its last line ends. */
type Quoted =
  | { readonly fields: string[]; readonly end: number; readonly problem?: undefined }
  | { readonly problem: string };

function readQuoted(text: string, begin: number): Quoted {
  const fields: string[] = [];
  for (let at = begin; ; at += 1) {
    if (text[at] === '"') {
      const close = closingQuote(text, at + 1);
      if (close === -1) return { problem: NOT_CLOSED };
      fields.push(text.slice(at + 1, close).replaceAll('""', '"'));
      at = close + 1;
      if (text[at] === "\r" && (text[at + 1] === "\n" || at + 1 === text.length)) at += 1;
      if (at < text.length && text[at] !== "," && text[at] !== "\n") return { problem: AFTER_QUOTE };
    } else {
      const stop = firstOf(text, at);
      const field = text[stop] === "," ? text.slice(at, stop) : withoutReturn(text.slice(at, stop));
      if (field.includes('"')) return { problem: QUOTE_INSIDE };
      if (field.includes("\r")) return { problem: BARE_RETURN };
      fields.push(field);
      at = stop;
    }
    if (text[at] !== ",") return { fields, end: at };
  }
}

/** The offset of the next quote that is not doubled; -1: none. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at !== -1; at = text.indexOf('"', at + 2)) if (text[at + 1] !== '"') return at;
  return -1;
}

/** The offset of the next comma or end of line. */
function firstOf(text: string, from: number): number {
  const end = endOfLine(text, from);
  // Search only this line: at every line a search to the end of a file without commas would take
  // minutes.
  const comma = text.slice(from, end).indexOf(",");
  return comma === -1 ? end : from + comma;
}

function endOfLine(text: string, from: number): number {
  const at = text.indexOf("\n", from);
  return at === -1 ? text.length : at;
}

function withoutReturn(content: string): string {
  return content.endsWith("\r") ? content.slice(0, -1) : content;
}
