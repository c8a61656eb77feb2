/** What the other process does in the tests of `ffi/`: the first argument says what. */
import { Doorbell, FileLock, Mutex, openLibc, Semaphore, SharedMemory } from "../mod.ts";

const [what, name, ...rest] = Deno.args;
const forever = () => new Promise<never>(() => setInterval(() => {}, 1000));

/** Waits until a word is no longer 0, without a doorbell: both are about to begin. */
function waitFor(words: Int32Array, at: number): void {
  using libc = openLibc();
  while (Atomics.load(words, at) === 0) libc.schedYield();
}

switch (what) {
  case "add": {
    using memory = SharedMemory.open(name);
    const words = new Int32Array(memory.buffer);
    Atomics.store(words, 2, 1);
    waitFor(words, 1);
    for (let i = 0; i < Number(rest[0]); i++) Atomics.add(words, 0, 1);
    break;
  }
  case "open": {
    try {
      using memory = SharedMemory.open(name);
      console.log(`opened ${memory.bytes}`);
    } catch (error) {
      const { code, remedy } = error as { code: string; remedy: string };
      console.log(`${code}: ${remedy}`);
    }
    break;
  }
  case "create": {
    using _ = SharedMemory.create(name, 4096);
    console.log("created");
    await forever();
    break;
  }
  case "create all": {
    // Each must be there until its creator says that it is not.
    console.log("creating");
    let lost = 0;
    for (let i = 0; i < Number(rest[0]); i++) {
      using memory = SharedMemory.create(`${name}-${i % 4}`, 4096);
      try {
        SharedMemory.open(memory.name)[Symbol.dispose]();
      } catch {
        lost++;
      }
      memory.unlink();
    }
    console.log(`${lost} lost`);
    break;
  }
  case "fill": {
    // In a /dev/shm of its own that is small: nothing may be left after each failure.
    const results: string[] = [];
    for (const bytes of [65536, 2 ** 21, 2 ** 40, 65536]) {
      try {
        using memory = SharedMemory.create(name, bytes);
        new Uint8Array(memory.buffer).fill(1);
        memory.unlink();
        results.push("ok");
      } catch (error) {
        const { code, details } = error as { code: string; details: { name: string } };
        results.push(`${code} ${details.name}`);
      }
    }
    const left = [...Deno.readDirSync("/dev/shm")].length;
    console.log(`${results.join(", ")}, ${left} left`);
    break;
  }
  case "semaphore": {
    // Takes one, posts two.
    using semaphore = Semaphore.open(name);
    console.log("waiting");
    await semaphore.wait();
    semaphore.post();
    semaphore.post();
    break;
  }
  case "semaphore at": {
    using memory = SharedMemory.open(name);
    using semaphore = Semaphore.at(memory, 64);
    console.log("waiting");
    await semaphore.wait();
    Atomics.add(new Int32Array(memory.buffer), 0, 1);
    using answer = Semaphore.at(memory, 128);
    answer.post();
    break;
  }
  case "lock": {
    using lock = FileLock.open(name);
    console.log(lock.tryLock());
    await forever();
    break;
  }
  case "ring bell": {
    const bell = Doorbell.connect(name);
    bell.ring();
    console.log("rung");
    await forever();
    break;
  }
  case "use all": {
    // With no permission but that for FFI: a folder with a lock file and a socket to ring.
    const [folder] = rest;
    using memory = SharedMemory.create(name, 4096);
    using mutex = new Mutex(memory, 0);
    using _guard = await mutex.lock();
    const orphans = SharedMemory.orphans(name).length;
    memory.unlink();
    using semaphore = Semaphore.create(name, { value: 1 });
    Semaphore.unlink(name);
    await semaphore.wait();
    using lock = FileLock.open(`${folder}/lock`);
    using bell = Doorbell.connect(`${folder}/bell`);
    console.log(orphans, lock.tryLock(), bell.ring());
    break;
  }
  case "hold mutex": {
    using memory = SharedMemory.open(name);
    using mutex = new Mutex(memory, 0);
    using guard = await mutex.lock();
    console.log(`held, ownerDied ${guard.ownerDied}`);
    await forever();
    break;
  }
  case "count": {
    // Counts in two places that must be equal whenever nobody is inside.
    using memory = SharedMemory.open(name);
    using mutex = new Mutex(memory, 0);
    const counts = new Int32Array(memory.buffer, Mutex.BYTES, 3);
    console.log("counting");
    for (let i = 0; i < Number(rest[0]); i++) {
      using guard = mutex.tryLock() ?? await mutex.lock();
      if (guard.ownerDied) {
        counts[2]++;
        counts[1] = counts[0];
      }
      if (counts[0] !== counts[1]) console.log(`torn: ${counts[0]} ${counts[1]}`);
      counts[0]++;
      counts[1]++;
    }
    console.log("done");
    break;
  }
  default:
    throw new Error(`unknown: ${what}`);
}
