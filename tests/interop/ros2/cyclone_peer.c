/* A program on Cyclone DDS that does what its input says, one line at a time, and prints what
 * happens. The same words as fast_peer.cpp; peers.ts explains them. */
#include "dds/dds.h"
#include "types.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX 32
enum kind { STRING, BYTES, KEYED, EVERYTHING, REQUEST, RESPONSE };
typedef example_interfaces_srv_dds__AddTwoInts_Request_ Request;
typedef example_interfaces_srv_dds__AddTwoInts_Response_ Response;
static const uint64_t client = 0x1122334455667788; /* As unique as one of a test must be. */
static int64_t requests;
struct endpoint {
  char name[32];
  enum kind kind;
  dds_entity_t entity;
  struct endpoint *echo; /* A reader's: what it takes is written there. */
};
static struct endpoint endpoints[MAX];
static int count;
static pthread_mutex_t out = PTHREAD_MUTEX_INITIALIZER;

#define SAY(...) \
  do { \
    pthread_mutex_lock(&out); \
    printf(__VA_ARGS__); \
    putchar('\n'); \
    fflush(stdout); \
    pthread_mutex_unlock(&out); \
  } while (0)

static const dds_topic_descriptor_t *type_of(enum kind kind) {
  switch (kind) {
  case STRING: return &std_msgs_msg_dds__String__desc;
  case BYTES: return &test_msgs_msg_dds__Bytes__desc;
  case REQUEST: return &example_interfaces_srv_dds__AddTwoInts_Request__desc;
  case RESPONSE: return &example_interfaces_srv_dds__AddTwoInts_Response__desc;
  case EVERYTHING: return &test_msgs_msg_dds__Everything__desc;
  default: return &test_msgs_msg_dds__Keyed__desc;
  }
}

static enum kind kind_of(const char *word) {
  if (strcmp(word, "everything") == 0) return EVERYTHING; /* For echoes only. */
  if (strcmp(word, "request") == 0) return REQUEST;
  if (strcmp(word, "response") == 0) return RESPONSE;
  return strcmp(word, "string") == 0 ? STRING : strcmp(word, "bytes") == 0 ? BYTES : KEYED;
}

/* The same pattern as the tests' own: a sum of bytes that are weighed by their place. */
static unsigned checksum(const unsigned char *bytes, size_t n) {
  unsigned sum = 0;
  for (size_t i = 0; i < n; i++) sum = sum * 31 + bytes[i];
  return sum;
}

static void fill(unsigned char *bytes, size_t n, unsigned number) {
  for (size_t i = 0; i < n; i++) bytes[i] = (unsigned char)(number * 31 + i * 7 + (i >> 8));
}

static void write_one(struct endpoint *to, unsigned number, size_t size) {
  dds_return_t done = 0;
  if (to->kind == STRING) {
    std_msgs_msg_dds__String_ s;
    s.data = malloc(size + 1);
    memset(s.data, 'a' + (int)(number % 26), size);
    s.data[size] = 0;
    done = dds_write(to->entity, &s);
    free(s.data);
  } else if (to->kind == BYTES) {
    test_msgs_msg_dds__Bytes_ b;
    memset(&b, 0, sizeof b);
    b.number = number;
    b.data._length = b.data._maximum = (uint32_t)size;
    b.data._buffer = malloc(size + 1);
    fill(b.data._buffer, size, number);
    done = dds_write(to->entity, &b);
    free(b.data._buffer);
  } else if (to->kind == REQUEST) {
    Request r = {client, ++requests, number, (int64_t)size};
    done = dds_write(to->entity, &r);
  } else {
    test_msgs_msg_dds__Keyed_ k = {number, (uint32_t)size};
    done = dds_write(to->entity, &k);
  }
  if (done != 0) SAY("error write %s", dds_strretcode(done));
}

static void take_all(dds_entity_t entity, struct endpoint *from) {
  void *samples[16] = {0};
  dds_sample_info_t info[16];
  int n;
  while ((n = dds_take(entity, samples, info, 16, 16)) > 0) {
    for (int i = 0; i < n; i++) {
      if (!info[i].valid_data) {
        test_msgs_msg_dds__Keyed_ *k = samples[i];
        SAY("ended %s %u %s", from->name, from->kind == KEYED ? k->id : 0,
            info[i].instance_state == DDS_IST_NOT_ALIVE_DISPOSED ? "disposed" : "unregistered");
      } else if (from->kind == REQUEST) {
        Request *r = samples[i];
        Response reply = {r->client, r->number, r->a + r->b};
        dds_return_t done = dds_write(from->echo->entity, &reply);
        if (done != 0) SAY("error reply %s", dds_strretcode(done));
      } else if (from->kind == RESPONSE) {
        Response *r = samples[i];
        if (r->client == client) SAY("sum %s %lld %lld", from->name, (long long)r->number, (long long)r->sum);
      } else if (from->echo) {
        dds_return_t done = dds_write(from->echo->entity, samples[i]);
        if (done != 0) SAY("error echo %s", dds_strretcode(done));
      } else if (from->kind == STRING) {
        std_msgs_msg_dds__String_ *s = samples[i];
        SAY("got %s %zu %u", from->name, strlen(s->data),
            checksum((unsigned char *)s->data, strlen(s->data)));
      } else if (from->kind == BYTES) {
        test_msgs_msg_dds__Bytes_ *b = samples[i];
        SAY("got %s %u %u %u", from->name, b->number, b->data._length,
            checksum(b->data._buffer, b->data._length));
      } else {
        test_msgs_msg_dds__Keyed_ *k = samples[i];
        SAY("got %s %u %u", from->name, k->id, k->value);
      }
    }
    dds_return_loan(entity, samples, n);
    memset(samples, 0, sizeof samples);
  }
}

/* What is echoed may have to wait for acknowledgements, which the thread that calls listeners
 * receives: so another one takes and writes. */
static void *work(void *arg) {
  dds_entity_t waitset = *(dds_entity_t *)arg;
  dds_attach_t ready[MAX];
  for (;;) {
    int n = dds_waitset_wait(waitset, ready, MAX, DDS_INFINITY);
    for (int i = 0; i < n; i++) {
      struct endpoint *from = (struct endpoint *)ready[i];
      take_all(from->entity, from);
    }
  }
  return NULL;
}

static void published(dds_entity_t e, const dds_publication_matched_status_t s, void *arg) {
  (void)e;
  SAY("matched %s %u", ((struct endpoint *)arg)->name, s.current_count);
}
static void subscribed(dds_entity_t e, const dds_subscription_matched_status_t s, void *arg) {
  (void)e;
  SAY("matched %s %u", ((struct endpoint *)arg)->name, s.current_count);
}
static void offered(dds_entity_t e, const dds_offered_incompatible_qos_status_t s, void *arg) {
  (void)e;
  SAY("incompatible %s %u", ((struct endpoint *)arg)->name, s.last_policy_id);
}
static void requested(dds_entity_t e, const dds_requested_incompatible_qos_status_t s, void *arg) {
  (void)e;
  SAY("incompatible %s %u", ((struct endpoint *)arg)->name, s.last_policy_id);
}

static struct endpoint *find(const char *name) {
  for (int i = 0; i < count; i++) {
    if (strcmp(endpoints[i].name, name) == 0) return &endpoints[i];
  }
  return NULL;
}

int main(int argc, char **argv) {
  dds_entity_t participant = dds_create_participant((dds_domainid_t)atoi(argv[argc - 1]), NULL, NULL);
  if (participant < 0) {
    SAY("error participant %s", dds_strretcode(participant));
    return 1;
  }
  pthread_t worker;
  dds_entity_t waitset = dds_create_waitset(participant);
  pthread_create(&worker, NULL, work, &waitset);
  SAY("ready");
  char line[512], verb[32], name[32], topic[128], type[32], echo[32];
  int reliable, transient, depth;
  unsigned number, times;
  size_t size;
  while (fgets(line, sizeof line, stdin)) {
    echo[0] = 0;
    if (sscanf(line, "%31s", verb) != 1) continue;
    if (strcmp(verb, "writer") == 0 || strcmp(verb, "reader") == 0) {
      if (sscanf(line, "%*s %31s %127s %31s %d %d %d %31s", name, topic, type, &reliable, &transient,
                 &depth, echo) < 6) {
        SAY("error %s", line);
        continue;
      }
      struct endpoint *e = &endpoints[count];
      strcpy(e->name, name);
      e->kind = kind_of(type);
      e->echo = echo[0] ? find(echo) : NULL;
      dds_qos_t *qos = dds_create_qos();
      dds_qset_reliability(qos, reliable ? DDS_RELIABILITY_RELIABLE : DDS_RELIABILITY_BEST_EFFORT,
                           DDS_SECS(10));
      dds_qset_durability(qos, transient ? DDS_DURABILITY_TRANSIENT_LOCAL : DDS_DURABILITY_VOLATILE);
      dds_qset_history(qos, depth ? DDS_HISTORY_KEEP_LAST : DDS_HISTORY_KEEP_ALL, depth ? depth : 1);
      dds_qset_durability_service(qos, 0, depth ? DDS_HISTORY_KEEP_LAST : DDS_HISTORY_KEEP_ALL,
                                  depth ? depth : -1, -1, -1, -1);
      dds_qset_writer_data_lifecycle(qos, false);
      dds_listener_t *listener = dds_create_listener(e);
      dds_entity_t t = dds_create_topic(participant, type_of(e->kind), topic, NULL, NULL);
      if (verb[0] == 'w') {
        dds_lset_publication_matched(listener, published);
        dds_lset_offered_incompatible_qos(listener, offered);
        e->entity = dds_create_writer(participant, t, qos, listener);
      } else {
        dds_lset_subscription_matched(listener, subscribed);
        dds_lset_requested_incompatible_qos(listener, requested);
        e->entity = dds_create_reader(participant, t, qos, listener);
        if (e->entity > 0) {
          dds_entity_t any = dds_create_readcondition(e->entity, DDS_ANY_STATE);
          dds_waitset_attach(waitset, any, (dds_attach_t)e);
        }
      }
      count++;
      if (e->entity < 0) SAY("error %s %s", name, dds_strretcode(e->entity));
      else SAY("made %s", name);
    } else if (strcmp(verb, "write") == 0) {
      times = 1;
      if (sscanf(line, "%*s %31s %u %zu %u", name, &number, &size, &times) < 3) continue;
      for (unsigned i = 0; i < times; i++) write_one(find(name), number + i, size);
    } else if (strcmp(verb, "dispose") == 0 || strcmp(verb, "unregister") == 0) {
      if (sscanf(line, "%*s %31s %u", name, &number) < 2) continue;
      test_msgs_msg_dds__Keyed_ k = {number, 0};
      if (verb[0] == 'd') dds_dispose(find(name)->entity, &k);
      else dds_unregister_instance(find(name)->entity, &k);
    } else if (strcmp(verb, "say") == 0) {
      if (sscanf(line, "%*s %31s", name) == 1) SAY("%s", name);
    } else if (strcmp(verb, "close") == 0) {
      if (sscanf(line, "%*s %31s", name) < 1) continue;
      dds_delete(find(name)->entity);
    }
  }
  /* The worker may be in the middle of something: the process ends without it. */
  _exit(0);
}
