/**
 * The command line: every command with its arguments and options. The commands themselves are loaded
 * when they run.
 *
 * @module
 */

import { Command, Option } from "commander";
import { count, headers, list, port, positive } from "./arguments.ts";
import { type CommonOptions, Context } from "./context.ts";
import type { Io } from "./io.ts";
import { paint } from "./paint.ts";
import { VERSION } from "./version.ts";

/** What a command's action is given: arguments and options, as the parser read them. */
type Action = (
  context: Context,
  // deno-lint-ignore no-explicit-any -- the parser gives what the lines below declare
  ...given: any[]
) => Promise<number>;

/** What parsing leads to. */
export interface Outcome {
  /** The exit code of the command that ran. */
  code: number;
}

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 the command line was not understood, 130 interrupted.
PATCHBAY_DEBUG=1 shows where an error came from. NO_COLOR and FORCE_COLOR are honoured.`;

/**
 * Builds the parser.
 *
 * @param io The process.
 * @param color Whether help may be coloured.
 * @param outcome Where the exit code goes.
 */
export function grammar(io: Io, color: boolean, outcome: Outcome): Command {
  const colours = paint(color);
  const configure = (command: Command) =>
    command
      .exitOverride()
      .configureOutput({
        writeOut: (text) => io.stdout.write(text),
        writeErr: (text) => io.stderr.write(text),
        // Said by main, in the form of every other error.
        outputError: () => {},
        getOutHasColors: () => color,
        getErrHasColors: () => color,
        getOutHelpWidth: () => Math.min(100, io.stdout.columns),
        getErrHelpWidth: () => Math.min(100, io.stderr.columns),
      })
      .configureHelp({
        styleTitle: colours.bold,
        styleCommandText: colours.cyan,
        styleSubcommandText: colours.cyan,
        styleOptionText: colours.green,
        styleArgumentText: colours.yellow,
      })
      .helpOption("-h, --help", "what you are reading");

  const program = configure(new Command("patchbay"))
    .description("Call, shout to and run jobs of Patchbay modules, over any wire.")
    .version(`patchbay ${VERSION} (deno ${Deno.version.deno})`, "-V, --version", "the versions")
    .usage("<command> [options]")
    .helpCommand("help [command]", "what a command does")
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .addHelpText("after", EXIT_CODES);
  common(program, true);

  const add = (parent: Command, usage: string, description: string, group: string): Command => {
    const [name, ...args] = usage.split(" ");
    const command = configure(parent.createCommand(name)).description(description);
    for (const arg of args) command.argument(arg);
    parent.addCommand(command.helpGroup(group).showSuggestionAfterError());
    return command;
  };
  const runs = (command: Command, action: Action) => {
    command.action(async (...given: unknown[]) => {
      given.pop(); // The parser's own object.
      const before = program.opts<CommonOptions>();
      const own = given.pop() as CommonOptions;
      // "No colours" wins wherever it stands: the parser's default for it is true.
      const options = { ...before, ...own, color: before.color !== false && own.color !== false };
      using context = new Context(io, options);
      outcome.code = await action(context, ...given, options);
      context.checkOutput();
    });
  };

  const call = add(program, "call <address> [json]", "call ADDRESS and print the response", TALK)
    .addOption(header());
  runs(
    common(call),
    async (...given: Parameters<typeof import("./commands/call.ts").call>) =>
      (await import("./commands/call.ts")).call(...given),
  );

  const serve = add(program, "serve <address>", "serve ADDRESS until Ctrl-C", TALK)
    .option("--echo", "answer each call with its request")
    .option("--reply <json>", "answer each call with this");
  runs(
    common(serve),
    async (...given: Parameters<typeof import("./commands/serve.ts").serve>) =>
      (await import("./commands/serve.ts")).serve(...given),
  );

  const shout = add(program, "shout <topic> [json]", "shout a value to everyone who listens", TALK)
    .option("-n, --count <n>", "how often (default: 1)", count)
    .option("--rate <hz>", "how many a second (default: as fast as it goes)", positive)
    .option("--retain", "keep the last value for late listeners: stays until Ctrl-C or --timeout")
    .addOption(header())
    .addHelpText("after", FRAMES_HELP);
  runs(
    common(framed(shout)),
    async (...given: Parameters<typeof import("./commands/shout.ts").shout>) =>
      (await import("./commands/shout.ts")).shout(...given),
  );

  const listen = add(program, "listen <topic>", "print what is shouted; * and ** are wild", TALK)
    .option("-n, --count <n>", "end after so many (default: go on until Ctrl-C)", count)
    .option("--retained", "begin with the last values that speakers have retained")
    .option("--max-silence <ms>", "warn when nothing came for so long, once each time", positive)
    .addHelpText("after", FRAMES_HELP);
  runs(
    common(framed(listen)),
    async (...given: Parameters<typeof import("./commands/listen.ts").listen>) =>
      (await import("./commands/listen.ts")).listen(...given),
  );

  const job = add(program, "job <address> [json]", "run a job; Ctrl-C cancels it", TALK)
    .addOption(header());
  runs(
    common(job),
    async (...given: Parameters<typeof import("./commands/job.ts").job>) =>
      (await import("./commands/job.ts")).job(...given),
  );

  const bridge = add(program, "bridge", "join two wires until Ctrl-C, both ways", TALK)
    .option("--from <wire>", "the one wire")
    .option("--to <wire>", "the other wire")
    .option("--match <pattern>", "the addresses, such as 'arm/**'; repeat it for more", list)
    .option("--one-way", "only what is on --from is offered on --to")
    .option("--patterns <patterns>", "callable, speaker, job (default: all)", list)
    .addOption(
      new Option("--overflow <policy>", "what happens to shouts that do not fit").choices([
        "drop_oldest",
        "drop_newest",
        "block",
      ]),
    )
    .option("--max-queue <n>", "the most shouts of one address that wait", count)
    .option("--set <wire.key=value>", "a setting of a wire; repeat it for more", collect)
    .addHelpText("after", BRIDGE_HELP);
  runs(
    common(bridge),
    async (...given: Parameters<typeof import("./commands/bridge.ts").bridge>) =>
      (await import("./commands/bridge.ts")).bridge(...given),
  );

  const bus = add(program, "bus", "the manager of a bus: routes frames between modules", MAKE)
    .option("--host <name>", "the interface (default: 127.0.0.1)")
    .option("--port <port>", "the port (default: 5000, unless --unix)", port)
    .option("--unix <path>", "listen on a Unix socket; also on TCP if --port is given")
    .option("--token <secret>", "what modules must show (default: PATCHBAY_BUS_TOKEN)")
    .option("--unique", "refuse a module whose name another one has (default: number them)")
    .option("--bridge <url>", "join the bus of another manager; repeat it for more", collect)
    .option("--hops <n>", "a frame passes so many bridges at most (default: 4)", count)
    .option("--name <name>", "what other managers call this one (default: where it listens)")
    .enablePositionalOptions();
  runs(
    common(bus),
    async (...given: Parameters<typeof import("./commands/bus.ts").bus>) =>
      (await import("./commands/bus.ts")).bus(...given),
  );
  const top = add(bus, "top", "who is on a bus, what they hear, and how they keep up", LOOK)
    .option("--url <url>", "the manager (default: PATCHBAY_BUS, or port 5000 here)")
    .option("--token <secret>", "the secret of the bus (default: PATCHBAY_BUS_TOKEN)")
    .option("--interval <ms>", "how often to look (default: 1000)", positive)
    .option("--once", "look once");
  runs(
    common(top),
    async (...given: Parameters<typeof import("./commands/bus.ts").busTop>) =>
      (await import("./commands/bus.ts")).busTop(...given),
  );

  const broker = add(program, "broker", "an MQTT broker (3.1.1) for those who have no other", MAKE)
    .option("--host <name>", "the interface (default: 127.0.0.1)")
    .option("--port <port>", "the port (default: 1883)", port);
  runs(
    common(broker),
    async (...given: Parameters<typeof import("./commands/broker.ts").broker>) =>
      (await import("./commands/broker.ts")).broker(...given),
  );

  const listing = add(program, "list", "live modules, their endpoints, wires and counters", LOOK)
    .option("-w, --watch", "show changes until Ctrl-C")
    .option("--wires", "the counters of each wire, too");
  runs(
    common(listing),
    async (...given: Parameters<typeof import("./commands/list.ts").list>) =>
      (await import("./commands/list.ts")).list(...given),
  );

  const hz = add(
    program,
    "hz <topic>",
    "measure how often and how evenly a topic is shouted",
    LOOK,
  );
  runs(
    common(measuring(hz)),
    async (...given: Parameters<typeof import("./commands/hz.ts").hz>) =>
      (await import("./commands/hz.ts")).hz(...given),
  );

  const bw = add(program, "bw <topic>", "measure how many bytes a topic carries", LOOK);
  runs(
    common(measuring(bw)),
    async (...given: Parameters<typeof import("./commands/bw.ts").bw>) =>
      (await import("./commands/bw.ts")).bw(...given),
  );

  const explain = add(
    program,
    "explain <address>",
    "which wire leads there, and why not the others",
    LOOK,
  )
    .addOption(
      new Option("--pattern <pattern>", "what the address is").choices([
        "callable",
        "speaker",
        "job",
      ]),
    )
    .option("--call <json>", "measure real calls with this request; it runs the handler")
    .option("-n, --count <n>", "how many round trips to measure (default: 100)", count);
  runs(
    common(explain),
    async (...given: Parameters<typeof import("./commands/explain.ts").explain>) =>
      (await import("./commands/explain.ts")).explain(...given),
  );

  const doctor = add(
    program,
    "doctor [wire...]",
    "what every wire is, needs, and why it may fail",
    LOOK,
  )
    .option("-v, --verbose", "more: where it comes from, and its configuration")
    .option("--config-table", "the configuration of every wire")
    .option("--clean", "remove what dead processes have left");
  runs(
    common(doctor),
    async (...given: Parameters<typeof import("./commands/doctor.ts").doctor>) =>
      (await import("./commands/doctor.ts")).doctor(...given),
  );

  const run = add(
    program,
    "run <module> [args...]",
    "start a module; stop it cleanly on Ctrl-C",
    MAKE,
  )
    .usage("[options] <module> [args...] [-- args...]")
    .option("-A, --allow-all", "grant everything instead of the exact permissions")
    .option("--print-permissions", "print the exact Deno flags, and start nothing")
    .option("--module <name>", "the module's name (default: read from the file, else its name)")
    .option("--peer <instances>", "the modules it calls or listens to", list)
    .option("--deno <flag>", "one more flag for deno, such as --allow-env=HOME", collect)
    .addHelpText("after", RUN_HELP);
  runs(
    common(run),
    async (...given: Parameters<typeof import("./commands/run.ts").run>) =>
      (await import("./commands/run.ts")).run(...given),
  );

  const fleet = add(
    program,
    "up <file>",
    "start the modules of a file, and keep them running",
    MAKE,
  )
    .option("--check", "only read the file")
    .addHelpText("after", UP_HELP);
  runs(
    common(fleet),
    async (...given: Parameters<typeof import("./commands/up.ts").up>) =>
      (await import("./commands/up.ts")).up(...given),
  );

  const make = add(program, "new", "begin a module or a plugin", MAKE).usage("<what> <name>")
    .helpCommand(false);
  const newModule = add(make, "module <name>", "a folder modules/NAME: code, test, README", MAKE);
  runs(
    common(newModule, false, false),
    async (context, name) => (await import("./commands/new.ts")).createModule(context, name),
  );
  const newPlugin = add(make, "plugin <name>", "a folder plugins/NAME: a wire that works", MAKE);
  runs(
    common(newPlugin, false, false),
    async (context, name) => (await import("./commands/new.ts")).createPlugin(context, name),
  );
  return program;
}

const TALK = "Talk:";
const LOOK = "Look:";
const MAKE = "Make and run:";

const UP_HELP = `
The file, in YAML or JSON:
  env: { PATCHBAY_BUS: "tcp://127.0.0.1:5000" }
  restart: on_failure            # or always, never
  modules:
    led: modules/led             # a file, or a folder with a main.ts
    controller: { run: modules/controller, after: [led], flags: ["--allow-net"] }`;
const RUN_HELP = `
MODULE is a file, or a folder with a main.ts. It runs with exactly the permissions that a bay of its
name needs here: the runtime directory, its own socket, and those of every --peer (Deno grants Unix
sockets by their exact path only). What the module itself needs besides is granted with --deno, or
everything with -A. Its own options follow after --. SIGINT, SIGTERM and SIGQUIT are passed on to it; after 10 s it is killed. Its exit
code is passed on.`;

const BRIDGE_HELP = `
What modules serve, shout and perform on the one wire is there on the other, as long as it is there.
  patchbay bridge --from uds --to websocket --match 'arm/**' --set websocket.listen.port=8080
Two bridges side by side, or in a circle, are safe: one carries, the others stand by.`;

const FRAMES_HELP = `
A topic frame:DISTANCE stands for the frames of that type on a bus, frame:ALL for all of them; they
are shown and read by the definitions: a file that deno task frames has written, or that it reads.`;

/** The options of commands that know frames. */
function framed(command: Command): Command {
  return command
    .option("--frames <file>", "the frame definitions, for frame:TYPE (default: PATCHBAY_FRAMES)")
    .option(
      "--url <url>",
      "the manager, for frame:TYPE (default: PATCHBAY_BUS, or port 5000 here)",
    );
}

function collect(text: string, before: readonly string[] = []): string[] {
  return [...before, text];
}

function header(): Option {
  return new Option("-H, --header <name=value>", "sent along; repeat it for more")
    .argParser(headers);
}

function measuring(command: Command): Command {
  return command
    .option("--window <n>", "over the last n messages (default: 100)", count)
    .option("-n, --count <n>", "end after so many messages", count)
    .option("--duration <s>", "end after so many seconds", positive);
}

/** The options that every command has. On the program itself they stand before the command. */
function common(command: Command, hidden = false, wires = true): Command {
  const options = [
    new Option("--via <wires>", "the wires to use, in order: uds,redis").argParser(list),
    new Option("--timeout <ms>", "how long it may take").argParser(positive),
    new Option("--config <file>", "the configuration file"),
    new Option("--runtime-dir <dir>", "the runtime directory, where live modules are found"),
    new Option("--json", "one JSON value a line; errors too, on stderr"),
    new Option("--no-color", "no colours"),
  ];
  for (const option of wires ? options : options.slice(2)) {
    command.addOption(option.hideHelp(hidden).helpGroup("Options of every command:"));
  }
  return command;
}
