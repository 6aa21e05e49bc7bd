// Kernels of inference, in single precision and in integers.
//
// The result of a row and an output is a function of its operands alone: the same bits on every instruction set, however the rows are shared
// among threads. (NaNs are equal as NaNs: which one results is the instruction set's business.) Nothing is allocated; a call takes up to
// 160 KiB of stack. Nothing is read but what is described here.
#ifndef PFI_INFERENCE_H
#define PFI_INFERENCE_H
#include <stddef.h>
#include <stdint.h>

/// Instruction sets for which there are bodies. All give the same bits.
typedef enum {
    PFI_PORTABLE = 0,
    PFI_AVX2 = 1,        // AVX2 + FMA
    PFI_AVX512 = 2,      // F, BW, DQ, VL
    PFI_AVX512_VNNI = 3, // and VNNI
    PFI_NEON = 4,        // AArch64
} pfi_isa;

/// The best set of this processor that PARTIALFC_INFERENCE_KERNELS (portable | avx2 | avx512 | avx512-vnni | neon) allows;
/// it is read once. An unknown or missing set: *problem is a sentence (static memory), else NULL.
pfi_isa pfi_default_isa(const char **problem);
/// Whether this processor can run a set.
int pfi_has_isa(pfi_isa isa);
const char *pfi_isa_name(pfi_isa isa);

// MARK: What follows the sum of a row and an output channel n

/// y = sum·scale[n] + bias[n] (a product, then a sum: never fused), then `first`, then + residual, then `second`, then to every sink.
typedef enum { PFI_NONE = 0, PFI_PRELU = 1, PFI_CLIP = 2 } pfi_activation_kind;
typedef struct {
    pfi_activation_kind kind;
    /// PFI_PRELU: y > 0 ? y : y·slope[n].
    const float *slope;
    /// PFI_CLIP: t = y > low ? y : low; t < high ? t : high. ReLU is (0, INFINITY).
    float low, high;
} pfi_activation;

typedef enum { PFI_FLOATS = 0, PFI_CODES = 1, PFI_SUMS = 2 } pfi_sink_kind;
/// Where results of row r go: data + r·stride (in elements), outputs of them.
typedef struct {
    pfi_sink_kind kind;
    /// float *, uint8_t *, or (PFI_SUMS: the integer sums with their correction, nothing else is applied; integer kernels only) int32_t *.
    void *data;
    size_t stride;
    /// v = factor ? y·factor[n] + summand[n] : y  (product, then sum).
    const float *factor, *summand;
    /// PFI_CODES: t = v·scale; t = t > low ? t : low; t = t < high ? t : high; code = round-to-nearest-even(t) + zero (as a byte).
    /// low and high are whole numbers with 0 <= low + zero, high + zero <= 255. (NaN becomes low.)
    float scale, low, high;
    int32_t zero;
    /// PFI_CODES: bytes after the outputs up to here (channels rounded up to 4) get the value `zero`.
    size_t padded;
} pfi_sink;

typedef struct {
    /// NULL: 1.
    const float *scale;
    /// NULL: 0 (nothing is added).
    const float *bias;
    pfi_activation first;
    /// Floats of row r at residual + r·residual_stride; NULL: none.
    const float *residual;
    size_t residual_stride;
    pfi_activation second;
    size_t sink_count; // 1...4
    pfi_sink sinks[4];
} pfi_epilogue;

// MARK: Convolutions and products as indirect matrix products

/// rows output pixels of each of `images` images; row r of image i reads, for each tap t, `channels` elements at
///   offsets ? (offsets[r·taps + t] < 0 ? padding : x + i·image_stride + offsets[r·taps + t]) : x + i·image_stride + r·row_stride   (offsets NULL: one tap).
/// All distances in elements; taps, channels, outputs and rows at least 1. Results of (i, r) go to row i·rows + r of residual and sinks.
typedef struct {
    size_t images, rows, taps;
    /// Channels that are read of each tap: a multiple of 4 for bytes (weights of channels that are only padding are zero), any number for floats.
    size_t channels;
    size_t outputs;
    size_t image_stride, row_stride;
    const int32_t *offsets;
    /// Depthwise convolutions only: 0, or channels of a group.
    size_t group;
} pfi_problem;

/// Bytes of packed weights for this set.
size_t pfi_packed_bytes_s8(pfi_isa isa, int bits, size_t taps, size_t channels, size_t outputs);
/// weights [outputs][taps][channels] (|w| <= 127; bits <= 7: <= 63), aligned 64; also sums per output are kept inside where a kernel needs them.
void pfi_pack_s8(pfi_isa isa, int bits, const int8_t *weights, size_t taps, size_t channels, size_t outputs, void *packed);
/// sum[r][n] = correction[n] + Σ_t Σ_c x·w, exact as int32 (|sum| < 2^31 is the caller's duty), x bytes 0…255 (bits <= 7: 0…127).
/// bits: 8, or 7 for operands that allow 16-bit accumulation. padding: `channels` bytes. Rows [begin, end) of images·rows: the caller shares them among threads.
void pfi_convolve_u8s8(pfi_isa isa, int bits, const pfi_problem *p, const uint8_t *x, const uint8_t *padding, const void *packed,
                       const int32_t *correction, const pfi_epilogue *e, size_t begin, size_t end);

size_t pfi_packed_bytes_f32(pfi_isa isa, size_t taps, size_t channels, size_t outputs);
void pfi_pack_f32(pfi_isa isa, const float *weights, size_t taps, size_t channels, size_t outputs, void *packed);
/// sum = Σ in the order of taps, then channels, each step one fused multiply-add (fmaf) from 0: the same bits on every set.
void pfi_convolve_f32(pfi_isa isa, const pfi_problem *p, const float *x, const float *padding, const void *packed, const pfi_epilogue *e,
                      size_t begin, size_t end);

// MARK: Depthwise convolutions: output channel c reads channel c of every tap

/// Groups of this many channels, a power of two, are computed here too: output channel c reads channels c / group·group + i of every tap,
/// i < group. They are as the taps (t, i), number t·group + i, of a depthwise convolution: its weights [taps·group][channels] and sums in
/// this order. `channels` is a multiple of `group`. Without groups, `group` is 1.
enum { pfi_most_group = 8 };

/// weights [taps][group][channels]. Here `channels` = `outputs`, any number. Same sums, correction and epilogue as above.
size_t pfi_packed_bytes_depthwise_s8(pfi_isa isa, int bits, size_t taps, size_t group, size_t channels);
void pfi_pack_depthwise_s8(
    pfi_isa isa, int bits, const int8_t *weights, size_t taps, size_t group, size_t channels, void *packed);
void pfi_depthwise_u8s8(pfi_isa isa, int bits, const pfi_problem *p, const uint8_t *x, const uint8_t *padding, const void *packed,
                        const int32_t *correction, const pfi_epilogue *e, size_t begin, size_t end);
void pfi_depthwise_f32(pfi_isa isa, const pfi_problem *p, const float *x, const float *padding, const float *weights /* [taps][group][channels] */,
                       const pfi_epilogue *e, size_t begin, size_t end);

// MARK: 3×3 convolutions of stride 1 with a border of one, by Winograd's F(4, 3)

/// Pictures; distances in elements. There are as many outputs as pixels: (image, y, x) is row (image·height + y)·width + x of residual and sinks.
typedef struct {
    size_t images, height, width, channels, outputs;
    size_t image_stride, line_stride, pixel_stride;
} pfi_picture;

/// Tiles of 4×4 outputs, the last of a line or column partly outside.
size_t pfi_winograd_tiles(const pfi_picture *p);
/// Bytes of packed weights; 0 if channels are no multiple of 16.
size_t pfi_packed_bytes_winograd_s8(pfi_isa isa, size_t channels, size_t outputs);
/// weights [outputs][9][channels] as for pfi_pack_s8. The sums are exact if all are within 2^25: 0 where these weights, with codes of these
/// bits, could give larger ones. Such a layer is to use pfi_convolve_u8s8.
int pfi_pack_winograd_s8(pfi_isa isa, int bits, const int8_t *weights, size_t channels, size_t outputs, void *packed);
/// Bytes that a call needs beside its stack, aligned 64.
size_t pfi_winograd_scratch_bytes(pfi_isa isa, size_t channels);
/// The sums of pfi_convolve_u8s8 with nine taps, for tiles [begin, end).
void pfi_winograd_u8s8(
    pfi_isa isa, const pfi_picture *p, const uint8_t *x, const uint8_t *padding, const void *packed,
    const int32_t *correction, const pfi_epilogue *e, void *scratch, size_t begin, size_t end);

// MARK: Rows alone

/// The epilogue over rows of floats (sum = x[r·stride + n]): additions, activations, normalisations that stand alone, and quantisation.
void pfi_rows_f32(pfi_isa isa, size_t outputs, const float *x, size_t stride, const pfi_epilogue *e, size_t begin, size_t end);
/// Codes to floats: (code - zero)·scale (the difference is exact, one product).
void pfi_decode(const uint8_t *codes, size_t stride, size_t channels, size_t rows, int32_t zero, float scale, float *out, size_t out_stride);
#endif
