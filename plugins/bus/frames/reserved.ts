/**
 * Names that a language keeps for itself: definitions may use them, the generated code has others.
 *
 * @module
 */

import { PatchbayError } from "@patchbay/core";

/**
 * What names are called in a language: themselves, or, where that is reserved, with `_` behind them
 * (`f` before them if they begin with `_`), and never like one another.
 *
 * @param names The names of one scope, as in the source.
 * @param reserved Whether the language keeps a name for itself.
 */
export function spelled(
  names: Iterable<string>,
  reserved: (name: string) => boolean,
): ReadonlyMap<string, string> {
  const all = [...names];
  const used = new Set(all.filter((name) => !reserved(name)));
  return new Map(all.map((name) => {
    if (!reserved(name)) return [name, name];
    let other = name.startsWith("_") ? `f${name}` : `${name}_`;
    while (used.has(other) || reserved(other)) other += "_";
    used.add(other);
    return [name, other];
  }));
}

/** Refuses two things of the source that would have one name. */
export class Claims {
  readonly #language: string;
  readonly #sources = new Map<string, string>();

  /** @param language For the error. */
  constructor(language: string) {
    this.#language = language;
  }

  /**
   * @param name The name in the generated code.
   * @param source What has it.
   * @throws `invalid`: something else has it.
   */
  claim(name: string, source: string): void {
    const other = this.#sources.get(name);
    if (other !== undefined && other !== source) {
      throw new PatchbayError(
        "invalid",
        `${source} and ${other} would both be called ${name} in ${this.#language}`,
        { remedy: "give one of them another name" },
      );
    }
    this.#sources.set(name, source);
  }
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/));

/**
 * Python: its keywords, what classes have of their own, and what the generated classes use or have.
 */
const PYTHON = words(
  `False None True and as assert async await break class continue def del elif else except finally
  for from global if import in is lambda nonlocal not or pass raise return try while with yield
  pack unpack mro TYPE NAME LAYOUT FORMAT MAX_BYTES field struct list int float str bool classmethod
  dataclass IntEnum`,
);

/** Whether a name of a field or enumerator is Python's, or one of these classes. */
export function reservedInPython(classes: ReadonlySet<string>): (name: string) => boolean {
  // In a class `__x` is called otherwise, and an enumerator `_x_` or `__x__` is none.
  return (name) =>
    PYTHON.has(name) || classes.has(name) || name.startsWith("__") ||
    /^_.*_$/.test(name);
}

/** Names of Python that a generated class must not have. */
export const PYTHON_CLASSES: ReadonlySet<string> = words("None True False IntEnum ValueError");

/**
 * C (up to C23) and C++ (up to C++23): keywords, what `<iso646.h>` spells, the types that the header
 * uses, and macros that compilers or common headers define.
 */
const C = words(
  `auto break case char const continue default do double else enum extern float for goto if inline
  int long register restrict return short signed sizeof static struct switch typedef union unsigned
  void volatile while alignas alignof bool constexpr false nullptr static_assert thread_local true
  typeof typeof_unqual asm catch char8_t char16_t char32_t class co_await co_return co_yield concept
  consteval constinit const_cast decltype delete dynamic_cast explicit export friend mutable
  namespace new noexcept operator private protected public reinterpret_cast requires static_cast
  template this throw try typeid typename using virtual wchar_t and and_eq bitand bitor compl not
  not_eq or or_eq xor xor_eq int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t size_t
  linux unix i386 errno stdin stdout stderr assert offsetof NULL EOF FRAMES_FINGERPRINT
  FRAME_MAX_BYTES FRAME_SIGNATURES PATCHBAY_FRAMES_H`,
);

/** Whether a name is C's or C++'s: what begins with `__`, or with `_` and a capital, always is. */
export function reservedInC(name: string): boolean {
  return C.has(name) || /^_[_A-Z]/.test(name);
}
