#ifndef FRAME_ENUMS_HPP
#define FRAME_ENUMS_HPP

namespace robot::led {
    /* What a light can show. */
    enum class colour : uint8_t { RED = 'r', GREEN = 'g', BLUE = 'b' };
    enum class level : int16_t {
        LOW = -100,
        NORMAL = 0,
        HIGH = 100 // as far as it goes
    };
}

#endif
