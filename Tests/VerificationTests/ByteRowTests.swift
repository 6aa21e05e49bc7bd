import CRows
import TestSupport
import Testing

/// Rows of signed bytes: codes, and their products against plain loops.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ByteRowTests {
    /// What the processor has of portable, avx2 and vnni.
    private static let instructions = 0...pfc_byte_instructions_best()

    private static func byte(_ place: Int, _ kind: Int) -> Int8 {
        switch kind {
        case 0: -128
        case 1: place % 2 == 0 ? 127 : -127
        default: Int8(truncatingIfNeeded: (place &* 2_654_435_761 &+ kind &* 40503) >> 7)
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 63, 64, 66, 129, 512], [0, 1, 2])
    func productsAreThoseOfPlainLoops(size: Int, kind: Int) {
        for (panelCount, count) in [(1, 1), (17, 5), (64, 13), (64, 6)] {
            let mine = (0..<panelCount * size).map { Self.byte($0, kind) }
            let rows = (0..<count * size).map { Self.byte($0 &+ 77, kind) }
            for set in Self.instructions {
                let panel = UnsafeMutableRawPointer.allocate(byteCount: pfc_panel_byte_count(size), alignment: 64)
                defer { panel.deallocate() }
                pfc_panel_pack(mine, panelCount, size, panel, set)
                var products = [Int32](repeating: 7, count: count * 64)
                pfc_panel_products(panel, rows, count, size, &products, set)
                var wrong = 0
                for row in 0..<count {
                    for column in 0..<64 {
                        var sum: Int32 = 0
                        if column < panelCount {
                            for k in 0..<size { sum += Int32(mine[column * size + k]) * Int32(rows[row * size + k]) }
                        }
                        if products[row * 64 + column] != sum { wrong += 1 }
                    }
                }
                #expect(wrong == 0, "instructions \(set), \(count) rows, a panel of \(panelCount)")
            }
        }
    }

    /// The largest sums that there are do not overflow.
    @Test func theLongestRowsDoNotOverflow() {
        let size = Int(pfc_longest_byte_row)
        let row = [Int8](repeating: -128, count: size)
        for set in Self.instructions {
            let panel = UnsafeMutableRawPointer.allocate(byteCount: pfc_panel_byte_count(size), alignment: 64)
            defer { panel.deallocate() }
            pfc_panel_pack(row, 1, size, panel, set)
            var products = [Int32](repeating: 0, count: 64)
            pfc_panel_products(panel, row, 1, size, &products, set)
            #expect(products[0] == 1 << 30 && products[1] == 0, "instructions \(set)")
        }
    }

    @Test func codesAreRoundedToNearestAndTiesToEven() {
        // Scales 1 (127 / 127) and 2, zeros, and numbers so small that they count as zeros.
        let rows: [Float] = [
            127, 0.5, 1.5, -2.5, 254, 1, -3, 5, 0, 0, -0.0, 0, 1e-36, 0, 0, -1e-36,
        ]
        var codes = [Int8](repeating: 9, count: 16)
        var scales = [Float](repeating: 9, count: 4)
        pfc_bytes_encode(rows, 4, 4, &codes, &scales)
        #expect(scales == [1, 2, 0, 0])
        #expect(codes == [127, 0, 2, -2, 127, 0, -2, 2] + [Int8](repeating: 0, count: 8))
        var back = [Float](repeating: 9, count: 16)
        pfc_bytes_decode(codes, scales, 4, 4, &back)
        #expect(back[..<8] == [127, 0, 2, -2, 254, 0, -4, 4])
        var inverses = [Float](repeating: 9, count: 4)
        pfc_bytes_inverse_lengths(codes, 4, 4, &inverses)
        #expect(inverses[1] == Float(1 / (Double(127 * 127 + 8).squareRoot())) && inverses[2] == 0)
    }

    @Test func theFirstRowAboveItsLimitIsFound() {
        var scores = [Float](repeating: 0, count: 5 * 64)
        var limits = [Float](repeating: 0, count: 64)
        #expect(pfc_first_row_above(scores, 0, 5, 64, limits) == 5)
        limits[63] = -1
        #expect(pfc_first_row_above(scores, 2, 5, 64, limits) == 2)
        limits[63] = 1
        scores[3 * 64 + 7] = 0.25
        scores[4 * 64 + 63] = 2
        #expect(pfc_first_row_above(scores, 0, 5, 64, limits) == 3)
        #expect(pfc_first_row_above(scores, 4, 5, 64, limits) == 4)
        #expect(pfc_first_row_above(scores, 4, 4, 64, limits) == 4)
    }
}
