/**
 * How names of definitions become names of TypeScript.
 *
 * @module
 */

// Reserved words of ECMAScript, and members that every class or object has.
const TAKEN = new Set(
  ("break case catch class const continue debugger default delete do else enum export extends " +
    "false finally for function if import in instanceof new null return super switch this throw " +
    "true try typeof var void while with yield await constructor encodeInto __proto__ arguments " +
    "eval")
    .split(" "),
);

/** `frame_button_state_s` and `BUTTON_STATE` → `ButtonState`. */
export function className(name: string): string {
  const words = name.replace(/^frame_(?=\w+_s$)/, "").replace(/_[st]$/, "").split("_");
  const joined = words.filter(Boolean).map((word) => {
    const lower = word === word.toUpperCase() ? word.toLowerCase() : word;
    return lower[0].toUpperCase() + lower.slice(1);
  }).join("");
  return /^\d/.test(joined) ? `_${joined}` : joined;
}

/** `long_thousandth_sec` → `longThousandthSec`. */
export function fieldName(name: string): string {
  const camel = name.replace(/^_+|_+$/g, "").replace(
    /_+(\w)/g,
    (_, letter: string) => letter.toUpperCase(),
  );
  return TAKEN.has(camel) || camel === "" ? `${camel}_` : camel;
}
