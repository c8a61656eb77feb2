/**
 * Finds names in a source text that exist on Deno or Node but in no browser.
 *
 * It uses the linter's own syntax tree, which Deno offers to programs only under `deno test`.
 *
 * @module
 */

const SERVER_ONLY: ReadonlySet<string> = new Set([
  "Deno",
  "process",
  "Buffer",
  "global",
  "require",
  "setImmediate",
  "clearImmediate",
  "__dirname",
  "__filename",
]);

const GLOBAL_OBJECTS: ReadonlySet<string> = new Set(["globalThis", "self", "window"]);

/** One use of a name that a browser lacks. */
export interface ServerGlobal {
  /** The name. */
  name: string;
  /** The line it stands on, from 1. */
  line: number;
}

/** What matters about a node of the tree; its full type is a union of some 200. */
interface TreeNode {
  type: string;
  parent?: TreeNode;
  range?: [number, number];
  name?: string;
  id?: TreeNode | null;
  key?: TreeNode;
  property?: TreeNode;
  object?: TreeNode;
  computed?: boolean;
  shorthand?: boolean;
  local?: TreeNode;
  params?: TreeNode[];
  param?: TreeNode | null;
  left?: TreeNode;
  right?: TreeNode;
  label?: TreeNode | null;
}

function same(a: TreeNode | null | undefined, b: TreeNode): boolean {
  return a?.range !== undefined && b.range !== undefined && a.range[0] === b.range[0] &&
    a.range[1] === b.range[1];
}

/** Whether a pattern (parameter, destructuring) leads from this node to a declaration. */
function inPattern(node: TreeNode): boolean {
  const up = node.parent;
  if (up === undefined) return false;
  switch (up.type) {
    case "VariableDeclarator":
    case "ClassDeclaration":
    case "TSModuleDeclaration":
    case "TSEnumDeclaration":
    case "TSTypeAliasDeclaration":
    case "TSInterfaceDeclaration":
      return same(up.id, node);
    case "FunctionDeclaration":
    case "FunctionExpression":
      return same(up.id, node) || (up.params ?? []).some((param) => same(param, node));
    case "ArrowFunctionExpression":
      return (up.params ?? []).some((param) => same(param, node));
    case "CatchClause":
      return same(up.param, node);
    case "ImportSpecifier":
    case "ImportDefaultSpecifier":
    case "ImportNamespaceSpecifier":
      return same(up.local, node);
    case "AssignmentPattern":
      return same(up.left, node) && inPattern(up);
    case "Property":
      return (up.shorthand === true || !same(up.key, node)) && inPattern(up);
    case "ArrayPattern":
    case "ObjectPattern":
    case "RestElement":
    case "TSParameterProperty":
      return inPattern(up);
    default:
      return false;
  }
}

/** Whether the identifier names a member or key rather than a variable. */
function isMemberName(node: TreeNode): boolean {
  const up = node.parent;
  if (up === undefined) return false;
  switch (up.type) {
    case "MemberExpression":
      return up.computed !== true && same(up.property, node);
    case "TSQualifiedName":
      return same(up.right, node);
    case "Property":
      return up.shorthand !== true && up.computed !== true && same(up.key, node);
    case "PropertyDefinition":
    case "MethodDefinition":
    case "AccessorProperty":
    case "TSPropertySignature":
    case "TSMethodSignature":
    case "TSAbstractPropertyDefinition":
    case "TSAbstractMethodDefinition":
    case "TSEnumMember":
      return up.computed !== true;
    case "ImportSpecifier":
    case "ExportSpecifier":
    case "LabeledStatement":
    case "BreakStatement":
    case "ContinueStatement":
    // Names of parameters inside types: `(process: X) => void`.
    // falls through
    case "TSFunctionType":
    case "TSConstructorType":
    case "TSNamedTupleMember":
      return true;
    default:
      return false;
  }
}

/**
 * Every use of a server-only global in a TypeScript or JavaScript text, types included; comments,
 * strings, member names and names that the text declares itself do not count.
 *
 * @param fileName Its ending tells the language.
 * @param source The text.
 * @throws Error when not run under `deno test`, or when the text does not parse.
 */
export function serverGlobals(fileName: string, source: string): ServerGlobal[] {
  if (Deno.lint?.runPlugin === undefined) {
    throw new Error("server globals are found by Deno's linter, which runs under `deno test` only");
  }
  const declared = new Set<string>();
  // By offset, because a shorthand property is both key and value: one place, visited twice.
  const used = new Map<number, string>();
  const certain = new Map<number, string>();
  const visit = (node: TreeNode): void => {
    const name = node.name ?? "";
    if (!SERVER_ONLY.has(name)) return;
    if (inPattern(node)) declared.add(name);
    else if (!isMemberName(node)) used.set(node.range?.[0] ?? 0, name);
  };
  const visitMember = (node: TreeNode): void => {
    const name = node.property?.name;
    if (node.computed === true || name === undefined || !SERVER_ONLY.has(name)) return;
    if (GLOBAL_OBJECTS.has(node.object?.name ?? "")) certain.set(node.range?.[0] ?? 0, name);
  };
  Deno.lint.runPlugin(
    {
      name: "browser",
      rules: {
        globals: {
          create: () => ({
            Identifier: (node) => visit(node as unknown as TreeNode),
            MemberExpression: (node) => visitMember(node as unknown as TreeNode),
          }),
        },
      },
    },
    fileName,
    source,
  );
  const uses = [...[...used].filter(([, name]) => !declared.has(name)), ...certain];
  return uses.sort(([a], [b]) => a - b).map(([offset, name]) => ({
    name,
    line: source.slice(0, offset).split("\n").length,
  }));
}
