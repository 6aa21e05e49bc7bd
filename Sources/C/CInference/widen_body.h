// Bytes to 16 bits.

static void widen(const uint8_t *from, size_t count, uint16_t *to) {
    for (size_t i = 0; i < count; i++) to[i] = from[i];
}
