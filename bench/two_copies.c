/*
 * The floor of a large message between two cores: the same two copies in C, one thread copying
 * 1 MiB into a ring, another copying it out again. It tries several rings at the start and keeps
 * the quickest. Asked on its input for so many milliseconds, it answers with bytes a second and how
 * many messages that were.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MESSAGE = 1 << 20, LOOKS = 2000 };

struct shape {
  size_t chunk, slots;
};
static const struct shape shapes[] = {
    {65536, 2}, {65536, 16}, {65536, 64}, {262144, 2}, {262144, 8}, {MESSAGE, 2}, {MESSAGE, 4},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static char *ring, *source, *sink;
static struct shape shape;
static size_t total;
static _Alignas(128) atomic_size_t written;
static _Alignas(128) atomic_size_t taken;
/* The core of each side; -1: wherever it is put. */
static int cores[2] = {-1, -1};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void pin(int core) {
  if (core < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* Waits until a counter is beyond a value. */
static void pass(atomic_size_t *counter, size_t value) {
  for (int look = 0; atomic_load_explicit(counter, memory_order_acquire) <= value; look++) {
    if (look % LOOKS == LOOKS - 1) sched_yield();
  }
}

static void *take(void *unused) {
  pin(cores[1]);
  for (size_t n = 0, at = 0; n < total; n++, at = (at + shape.chunk) % MESSAGE) {
    pass(&written, n);
    memcpy(sink + at, ring + n % shape.slots * shape.chunk, shape.chunk);
    atomic_store_explicit(&taken, n + 1, memory_order_release);
  }
  return unused;
}

/* Moves so many messages; returns bytes a second. */
static double move(const struct shape *with, size_t messages) {
  shape = *with;
  total = messages * (MESSAGE / shape.chunk);
  written = taken = 0;
  pthread_t taker;
  pthread_create(&taker, NULL, take, NULL);
  double start = seconds();
  for (size_t n = 0, at = 0; n < total; n++, at = (at + shape.chunk) % MESSAGE) {
    if (n >= shape.slots) pass(&taken, n - shape.slots);
    memcpy(ring + n % shape.slots * shape.chunk, source + at, shape.chunk);
    atomic_store_explicit(&written, n + 1, memory_order_release);
  }
  pthread_join(taker, NULL);
  return messages * (double)MESSAGE / (seconds() - start);
}

int main(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int core = 0, found = 0; core < CPU_SETSIZE && found < 2; core++) {
      if (CPU_ISSET(core, &set)) cores[found++] = core;
    }
    if (cores[1] < 0) cores[1] = cores[0];
  }
  pin(cores[0]);
  ring = aligned_alloc(4096, 4 * MESSAGE);
  source = aligned_alloc(4096, MESSAGE);
  sink = aligned_alloc(4096, MESSAGE);
  if (!ring || !source || !sink) return 1;
  memset(ring, 1, 4 * MESSAGE);
  memset(source, 2, MESSAGE);
  memset(sink, 3, MESSAGE);

  const struct shape *best = shapes;
  double best_rate = 0;
  for (int i = 0; i < SHAPES; i++) {
    move(&shapes[i], 50);
    double rate = move(&shapes[i], 300);
    if (rate > best_rate) best_rate = rate, best = &shapes[i];
  }
  fprintf(stderr, "two copies in C: a ring of %zu x %zu KiB\n", best->slots, best->chunk / 1024);

  puts("ready");
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    double ms = atof(line);
    size_t messages = best_rate * ms / 1000 / MESSAGE + 1;
    printf("%.0f %zu\n", move(best, messages), messages);
    fflush(stdout);
  }
  return 0;
}
