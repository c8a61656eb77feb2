/*
 * A module on the bus in C, written from docs/bus_protocol.md alone.
 *
 * Usage: bus_module HOST-AS-NUMBERS PORT. Answers each TEXT with its length, and a request for
 * BUTTON_STATE with a button that is pressed; ends when it reads "bye".
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "frames.h"

enum { HELLO = 1, HELLO_ACK = 2, GOODBYE = 3, CREDIT = 5, ROUTE = 6, REGISTER = 8, REGISTERED = 9 };
enum { SUBSCRIBE = 32, SUBSCRIBE_ACK = 33, UNSUBSCRIBE = 34, EVENT = 35 };
enum { WINDOW = 65536, HEADER = 24, MOST = 24600, LISTENERS = 64 };

static int bus;
static double unpaid, owed;
/* Who listens for what this module sends: the subscription's id, and the frame's number. */
static struct { uint32_t id; int type; } listeners[LISTENERS];
static uint8_t in[MOST + 1];
static uint32_t in_id;
static double in_number;
static size_t in_bytes; /* of the body, which begins at in_body */
static uint8_t *in_body;

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void exactly(void *to, size_t bytes) {
    for (size_t have = 0; have < bytes;) {
        ssize_t got = read(bus, (char *) to + have, bytes - have);
        if (got <= 0) fail("the manager has closed");
        have += (size_t) got;
    }
}

static void write_frame(int kind, uint8_t priority, uint32_t id, uint32_t route, double number,
                        const void *body, size_t bytes) {
    static uint8_t frame[4 + HEADER + MOST];
    memset(frame, 0, 4 + HEADER);
    uint32_t length = (uint32_t) (HEADER + bytes);
    memcpy(frame, &length, 4);
    frame[4] = (uint8_t) kind;
    frame[7] = priority;
    frame[8] = 8; /* hops left */
    memcpy(frame + 12, &id, 4);
    memcpy(frame + 16, &route, 4);
    memcpy(frame + 20, &number, 8);
    if (bytes > 0) memcpy(frame + 4 + HEADER, body, bytes);
    /* In one write: of two, TCP would hold the second back for 40 ms. */
    if (write(bus, frame, 4 + length) != (ssize_t) (4 + length)) fail("the manager has closed");
    if (kind == EVENT) unpaid += length;
}

static int type_of(const char *pattern) {
    if (strcmp(pattern, "frame/text") == 0) return FRAME_TEXT;
    return strcmp(pattern, "frame/button_state") == 0 ? FRAME_BUTTON_STATE : -1;
}

/* Reads the next frame; does what is to be done about credit and listeners; returns its kind. */
static int read_frame(void) {
    uint32_t length;
    uint16_t block;
    exactly(&length, 4);
    if (length < HEADER || length > MOST) fail("a frame of a wrong length");
    exactly(in, length);
    in[length] = 0;
    memcpy(&block, in + 6, 2);
    memcpy(&in_id, in + 8, 4);
    memcpy(&in_number, in + 16, 8);
    in_body = in + HEADER + block;
    in_bytes = length - HEADER - block;
    if (in[0] == GOODBYE) fail((char *) in_body);
    if (in[0] == CREDIT && in_id == 0) unpaid -= in_number;
    if (in[0] == EVENT && (owed += length) >= WINDOW / 4) {
        write_frame(CREDIT, 255, 0, 0, owed, NULL, 0);
        owed = 0;
    }
    for (int i = 0; i < LISTENERS && (in[0] == SUBSCRIBE || in[0] == UNSUBSCRIBE); i++) {
        if (in[0] == UNSUBSCRIBE && listeners[i].id == in_id) listeners[i].id = 0;
        if (in[0] == SUBSCRIBE && listeners[i].id == 0) {
            char pattern[256] = "", *text = strstr((char *) in_body, "\"pattern\":\"");
            if (text != NULL) sscanf(text + 11, "%255[^\"]", pattern);
            listeners[i].id = in_id;
            listeners[i].type = type_of(pattern);
            write_frame(SUBSCRIBE_ACK, 255, in_id, 0, 0, NULL, 0);
            break;
        }
    }
    return in[0];
}

static void send_json(int kind, uint32_t id, uint32_t route, const char *json) {
    write_frame(kind, 255, id, route, 0, json, strlen(json));
}

static void send_frame(int type, uint32_t route, uint8_t priority, const uint8_t *body, size_t bytes) {
    static double sequence[256];
    sequence[type]++;
    for (int i = 0; i < LISTENERS; i++) {
        if (listeners[i].id == 0 || listeners[i].type != type) continue;
        if (unpaid + HEADER + (double) bytes > WINDOW) continue; /* nobody reads: it is dropped */
        write_frame(EVENT, priority, listeners[i].id, route, sequence[type], body, bytes);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in to = {.sin_family = AF_INET};
    if (argc != 3) fail("usage: bus_module HOST PORT");
    to.sin_port = htons((uint16_t) atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    bus = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(bus, (struct sockaddr *) &to, sizeof to) != 0) fail("nobody answers");

    char hello[16384];
    int at = snprintf(hello, sizeof hello, "PBAY{\"versions\":[1,1],\"bay\":{\"id\":\"c%d\",\"module\":"
        "\"sea\",\"instance\":\"sea\"},\"codecs\":[\"raw\"],\"compression\":[],\"maxMessageBytes\":4096,"
        "\"windowBytes\":65536,\"capabilities\":[\"speaker\"],\"metadata\":{\"frames.fingerprint\":\"%s\","
        "\"frames.0\":\"", (int) getpid(), FRAMES_FINGERPRINT);
    for (size_t i = 0; i < sizeof FRAME_SIGNATURES / sizeof *FRAME_SIGNATURES; i++) {
        at += snprintf(hello + at, sizeof hello - (size_t) at, "%s%s %d %s", i > 0 ? "\\n" : "",
            FRAME_SIGNATURES[i].name, FRAME_SIGNATURES[i].number, FRAME_SIGNATURES[i].layout);
    }
    snprintf(hello + at, sizeof hello - (size_t) at, "\"}}");
    send_json(HELLO, 0, 0, hello);
    if (read_frame() != HELLO_ACK) fail("no hello-ack");

    send_json(ROUTE, 0, 0, "{\"address\":\"frame/text\"}");
    send_json(ROUTE, 0, 1, "{\"address\":\"frame/button_state\"}");
    send_json(REGISTER, 1, 0, "{\"pattern\":\"speaker\",\"address\":\"frame/text\"}");
    send_json(REGISTER, 2, 0, "{\"pattern\":\"speaker\",\"address\":\"frame/button_state\"}");
    const char *terms = "{\"pattern\":\"%s\",\"overflow\":\"drop_oldest\",\"maxQueue\":256,\"retained\":false}";
    char text[512];
    snprintf(text, sizeof text, terms, "frame/text");
    send_json(SUBSCRIBE, FRAME_TEXT, 0, text);
    snprintf(text, sizeof text, terms, "frame/button_state");
    send_json(SUBSCRIBE, FRAME_BUTTON_STATE, 0, text);
    /* Until all four are acknowledged, what others send may pass by. */
    for (int missing = 4; missing > 0;) {
        int kind = read_frame();
        if (kind == REGISTERED || kind == SUBSCRIBE_ACK) missing--;
    }
    puts("ready");
    fflush(stdout);

    for (;;) {
        uint8_t out[1 + FRAME_MAX_BYTES] = {0};
        struct frame_text_s read_text, answer = {0};
        struct frame_button_state_s pressed = {.pressed = true};
        if (read_frame() != EVENT) continue;
        bool request = in_bytes == 1 && in_body[0] == 1;
        if (in_id == FRAME_BUTTON_STATE && request) {
            send_frame(FRAME_BUTTON_STATE, 1, 224, out, 1 + frame_pack_button_state(&pressed, out + 1));
        }
        if (in_id != FRAME_TEXT || request || in_body[0] != 0) continue;
        if (!frame_unpack_text(&read_text, in_body + 1, in_bytes - 1)) fail("no text");
        if (strcmp(read_text.text, "bye") == 0) break;
        if (strncmp(read_text.text, "c:", 2) == 0 || strncmp(read_text.text, "python:", 7) == 0) continue;
        snprintf(answer.text, sizeof answer.text, "c: %d", (int) strnlen(read_text.text, 200));
        send_frame(FRAME_TEXT, 0, 128, out, 1 + frame_pack_text(&answer, out + 1));
    }
    close(bus);
    return 0;
}
