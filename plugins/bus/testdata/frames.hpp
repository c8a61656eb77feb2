#pragma once

#include <cstdint>
#include "macros_for_the_compiler.hpp"
#include "frame_enums.hpp"

#define NAME_LENGTH 12

#if defined(__arm__)
#define R2D2_PACK_STRUCT _Pragma("pack(1)")
#else
#define R2D2_PACK_STRUCT
#endif

namespace robot {
    using frame_id = uint8_t;

    /**
     * Every kind of frame.
     */
    enum frame_type : frame_id {
        // Nothing
        NONE = 0,

        BUTTON_STATE,
        LED_STATE, // whether it shines
        DISTANCE,
        DISPLAY_8x8_CHARACTER,
        TEMPERATURES,
        POSE = 0x20,
        MOVE,
        ROUTE,
        PING,

        EXTERNAL,
        IDENTITY,
        ALL,
        COUNT
    };

    template<typename T>
    struct frame_type_s {
        constexpr static frame_id type = frame_type::NONE;
    };

    template<typename T>
    constexpr frame_id frame_type_v = frame_type_s<T>::type;

    constexpr unsigned MOST_TEMPERATURES = (1 << 4) - 2;

    /** The address of another robot. */
    struct external_id_s {
        // third and fourth octet
        uint8_t octets[2];
    };

    struct frame_external_s {
        uint8_t length;
        external_id_s id;
        frame_type type;
        uint8_t data[256 - sizeof(uint8_t) - sizeof(external_id_s) - sizeof(frame_type)];
    };
    R2D2_INTERNAL_FRAME_HELPER(frame_external_s, EXTERNAL)

    /** A button, as it is right now. */
    R2D2_PACK_STRUCT
    struct frame_button_state_s {
        bool pressed;
    };

    R2D2_PACK_STRUCT
    struct frame_led_state_s {
        bool state;
        led::colour colour = led::colour::RED;
    };

    struct frame_distance_s {
        uint16_t mm; ///< millimetres
    };

    R2D2_PACK_STRUCT
    struct frame_display_8x8_character_s {
        // position
        uint8_t x, y;
        // what to draw; last, so that only what is there is sent
        char characters[243];
    };

    #pragma pack(push, 1)
    struct frame_temperatures_s {
        std::uint32_t sensor_id;
        char name[NAME_LENGTH];
        int16_t tenths[MOST_TEMPERATURES];
    };
    #pragma pack(pop)

    struct __attribute__((packed)) point_s {
        float x;
        double y;
        int8_t quality[3];
    };

    struct frame_pose_s {
        int64_t stamp_ns;
        point_s position;
        point_s corners[2];
        bool valid;
    };

    struct frame_move_s {
        int8_t speed;
        led::level level;
        char mark;
        uint64_t until;
    };

    struct frame_route_s {
        uint8_t path_id;
        point_s points[10];
    };

    struct frame_ping_s {};

    R2D2_INTERNAL_FRAME_HELPER(frame_button_state_s, BUTTON_STATE)
    R2D2_INTERNAL_FRAME_HELPER(frame_led_state_s, LED_STATE)
    R2D2_INTERNAL_FRAME_HELPER(frame_distance_s, DISTANCE)
    R2D2_INTERNAL_FRAME_HELPER(
        frame_display_8x8_character_s,
        DISPLAY_8x8_CHARACTER,
        R2D2_OPTIMISE_STRING(frame_display_8x8_character_s, characters)
    )
    R2D2_INTERNAL_FRAME_HELPER(frame_temperatures_s, TEMPERATURES)
    R2D2_INTERNAL_FRAME_HELPER(frame_pose_s, POSE)
    R2D2_INTERNAL_FRAME_HELPER(frame_move_s, MOVE)
    R2D2_INTERNAL_FRAME_HELPER(frame_route_s, ROUTE)
    R2D2_INTERNAL_FRAME_HELPER(frame_ping_s, PING)
}
