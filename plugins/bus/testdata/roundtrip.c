/* Reads lines `TYPE HEX`, unpacks each frame, packs it again and prints the same form. */
#include <stdio.h>
#include "frames.h"

#define CASE(NAME, lower, STRUCT, ...)                                                  \
    case FRAME_##NAME: {                                                                \
        struct STRUCT frame;                                                            \
        if (!frame_unpack_##lower(&frame, in, length)) return 2;                        \
        length = frame_pack_##lower(&frame __VA_ARGS__, out);                           \
        break;                                                                          \
    }

int main(void) {
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        unsigned type, byte;
        int used, step;
        uint8_t in[FRAME_MAX_BYTES], out[FRAME_MAX_BYTES];
        size_t length = 0;
        if (sscanf(line, "%u%n", &type, &used) != 1) return 1;
        while (sscanf(line + used, " %2x%n", &byte, &step) == 1) {
            in[length++] = (uint8_t) byte;
            used += step;
        }
        switch (type) {
            CASE(BUTTON_STATE, button_state, frame_button_state_s)
            CASE(LED_STATE, led_state, frame_led_state_s)
            CASE(DISTANCE, distance, frame_distance_s)
            CASE(DISPLAY_8x8_CHARACTER, display_8x8_character, frame_display_8x8_character_s)
            CASE(TEMPERATURES, temperatures, frame_temperatures_s, , (length - 16) / 2)
            CASE(POSE, pose, frame_pose_s)
            CASE(MOVE, move, frame_move_s)
            CASE(ROUTE, route, frame_route_s, , (length - 1) / 15)
            CASE(PING, ping, frame_ping_s)
            CASE(EXTERNAL, external, frame_external_s, , length - 4)
            CASE(IDENTITY, identity, frame_identity_s)
            default: return 3;
        }
        printf("%u ", type);
        for (size_t i = 0; i < length; i++) printf("%02x", out[i]);
        printf("\n");
    }
    printf("fingerprint %s\n", FRAMES_FINGERPRINT);
    return 0;
}
