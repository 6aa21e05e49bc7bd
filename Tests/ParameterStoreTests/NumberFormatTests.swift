import Determinism
import ParameterStore
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct NumberFormatTests {
    /// What bf16 is by definition: the neighbour that is nearer, the even one of two that are as near.
    private func nearest(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let low = UInt16(bits >> 16)
        if value.isNaN { return low | 0x40 }
        let rest = bits & 0xffff
        return rest > 0x8000 || rest == 0x8000 && low & 1 == 1 ? low + 1 : low
    }

    private func bf16(_ values: [Float]) -> [UInt16] {
        var encoded = [UInt16](repeating: 0, count: values.count)
        encoded.withUnsafeMutableBytes { target in
            guard let base = target.baseAddress else { return }
            NumberFormat.bf16.encode(values, count: 1, width: values.count, to: base)
        }
        return encoded
    }

    private func roundTrip(_ format: NumberFormat, _ values: [Float], width: Int) -> [Float] {
        let count = values.count / width
        var encoded = [UInt8](repeating: 0xff, count: count * format.byteCount(width: width))
        var decoded = [Float](repeating: .nan, count: values.count)
        encoded.withUnsafeMutableBytes { bytes in
            let empty = UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1)
            defer { empty.deallocate() }
            let base = bytes.baseAddress ?? empty
            format.encode(values, count: count, width: width, to: base)
            format.decode(base, count: count, width: width, to: &decoded)
        }
        return decoded
    }

    @Test func rowsHaveTheirBytes() {
        for (width, bytes) in [
            (1, [4, 2, 8, 0]), (4, [16, 8, 8, 0]), (5, [20, 10, 12, 0]), (512, [2048, 1024, 516, 0]),
        ] {
            #expect([NumberFormat.f32, .bf16, .int8, .none].map { $0.byteCount(width: width) } == bytes)
        }
        #expect(TableFormat(rows: .bf16, momentum: .int8).byteCount(width: 512) == 1540)
    }

    @Test func bf16IsTheNearestEvenOne() {
        var random = KeyedRandom(seed: 1, purpose: .centerInitialization, 1)
        var values = (0..<100_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
        // Halves between two neighbours, and what is beside them.
        for upper in stride(from: UInt32(0), to: 0x1_0000, by: 97) {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] as [UInt32] {
                values.append(Float(bitPattern: upper << 16 | lower))
            }
        }
        values += [
            .infinity, -.infinity, .nan, .signalingNaN, 0, -0.0, .greatestFiniteMagnitude, .leastNonzeroMagnitude,
            Float(bitPattern: 0x7f80_0001), Float(bitPattern: 0xffff_ffff),
        ]
        let encoded = bf16(values)
        #expect(encoded == values.map(nearest))
        for (value, code) in zip(values, encoded) where value.isNaN {
            #expect(Float(bitPattern: UInt32(code) << 16).isNaN)
        }
        let kept = values.filter { $0.bitPattern & 0xffff == 0 && !$0.isNaN }
        #expect(roundTrip(.bf16, kept, width: kept.count).map(\.bitPattern) == kept.map(\.bitPattern))
    }

    @Test func whatIsNotFiniteIsFound() {
        let limit = Float(bitPattern: 0x7f7f_7fff)
        for place in [0, 5, 1023, 1024, 2999] {
            var values = [Float](repeating: limit, count: 3000)
            for format in NumberFormat.allCases { #expect(format.firstNonFinite(values, count: 3000) == nil) }
            values[place] = -limit.nextUp
            #expect(NumberFormat.bf16.firstNonFinite(values, count: 3000) == place)
            #expect(NumberFormat.f32.firstNonFinite(values, count: 3000) == nil)
            for bad in [Float.nan, .infinity, -.infinity] {
                values[place] = bad
                for format in NumberFormat.allCases { #expect(format.firstNonFinite(values, count: 3000) == place) }
            }
        }
    }

    @Test(arguments: [1, 3, 4, 5, 63, 512]) func int8IsNear(width: Int) {
        var random = KeyedRandom(seed: 2, purpose: .centerInitialization, UInt64(width))
        let count = 50
        var values: [Float] = []
        for row in 0..<count {
            // From rows that count as zero to rows near the limit.
            let size = Float(sign: .plus, exponent: row * 5 - 126, significand: 1)
            values += (0..<width).map { _ in
                size * (Float(Int64(bitPattern: random.next()) >> 40) / 0x1p23)
            }
        }
        let decoded = roundTrip(.int8, values, width: width)
        for row in 0..<count {
            let (old, new) = (values[row * width..<(row + 1) * width], decoded[row * width..<(row + 1) * width])
            let scale = (old.map(abs).max() ?? 0) / 127
            if scale < 0x1p-100 {
                #expect(new.allSatisfy { $0 == 0 })
            } else {
                #expect(zip(old, new).allSatisfy { abs($0 - $1) <= scale * 0.5001 })
                #expect(abs((new.map(abs).max() ?? 0) / scale - 127) < 0.01)
            }
        }
        // Its numbers are kept exactly, so that reading and writing a row changes it no more.
        #expect(roundTrip(.int8, decoded, width: width) == decoded)
        #expect(roundTrip(.none, values, width: width).allSatisfy { $0 == 0 })
        #expect(roundTrip(.f32, values, width: width) == values)
        for bad in [Float.nan, .infinity] {
            var row = [Float](repeating: 1, count: width)
            row[width / 2] = bad
            #expect(roundTrip(.int8, row, width: width).allSatisfy { !$0.isFinite })
        }
    }
}
