import CInference
import Determinism
import TestSupport
import Testing

/// The kernels of inference on every instruction set of this processor, against a plain loop, bit for bit.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct InferenceKernelsTests {
    private static let sets = [PFI_PORTABLE, PFI_AVX2, PFI_AVX512, PFI_AVX512_VNNI, PFI_NEON].filter {
        pfi_has_isa($0) != 0
    }

    private static func name(_ set: pfi_isa) -> String { String(cString: pfi_isa_name(set)) }

    @Test(arguments: Kernel.all) func randomOperands(_ kernel: Kernel) { compare(kernel, seeds: 0..<150) }

    @Test(arguments: Kernel.all.filter { $0.bits < 32 }) func extremeOperands(_ kernel: Kernel) {
        compare(kernel, seeds: 1000..<1050, extreme: true)
    }

    private func compare(_ kernel: Kernel, seeds: Range<UInt64>, extreme: Bool = false) {
        var refused = 0
        for seed in seeds {
            let test = KernelCase(kernel, seed: seed, extreme: extreme)
            let expected = PlainLoop(test: test).run().withOneNaN(test)
            for set in Self.sets {
                guard let found = KernelRun(test: test, set: set).run()?.withOneNaN(test) else {
                    refused += 1
                    continue
                }
                // Not as an expression: a difference of thousands of bytes would be described.
                let isEqual = found == expected
                #expect(isEqual, "\(kernel), \(Self.name(set)), seed \(seed)")
            }
        }
        // Sums beyond 2^25: the kernel says so, and only then.
        #expect(refused == 0 || (extreme && kernel.operation == .winograd && refused < seeds.count * Self.sets.count))
        let sets = Self.sets.map(Self.name).joined(separator: ", ")
        let refusals = refused > 0 ? ", \(refused / Self.sets.count) refused" : ""
        print("\(kernel)\(extreme ? ", extreme operands" : ""): \(seeds.count) cases on \(sets)\(refusals)")
    }

    /// Rows that two threads share give what one call gives: the bits are a function of the row.
    @Test(arguments: Kernel.all) func sharedRows(_ kernel: Kernel) {
        for seed in 2000..<2020 as Range<UInt64> {
            let test = KernelCase(kernel, seed: seed)
            let all = test.units
            for set in Self.sets {
                let whole = KernelRun(test: test, set: set).run()
                let cut = all.lowerBound + all.count / 3
                let parts = KernelRun(test: test, set: set).run(in: [
                    all.lowerBound..<cut, cut..<all.upperBound,
                ])
                let isEqual = parts?.withOneNaN(test) == whole?.withOneNaN(test)
                #expect(isEqual, "\(kernel), \(Self.name(set)), seed \(seed)")
            }
        }
    }

    @Test func noRowsWriteNothing() {
        for kernel in Kernel.all {
            let test = KernelCase(kernel, seed: 1)
            for set in Self.sets { #expect(KernelRun(test: test, set: set).run(in: [0..<0]) == SinkContents(test)) }
        }
    }

    /// The bound of 2^25 is where it should be: one channel group below it is exact, one above is refused.
    @Test func winogradRefusesWhatItCannotDoExactly() {
        let memory = KernelMemory()
        for (bits, weight, channels) in [(7, 63, 448), (8, 127, 112)] as [(Int32, Int8, Int)] {
            for (channels, isExact) in [(channels, true), (channels + 32, false)] {
                let weights = [Int8](repeating: weight, count: 9 * channels)
                for set in Self.sets {
                    let packed = memory.allocate(
                        bytes: pfi_packed_bytes_winograd_s8(set, channels, 1), alignment: 64)
                    #expect((pfi_pack_winograd_s8(set, bits, weights, channels, 1, packed) != 0) == isExact)
                }
            }
        }
        withExtendedLifetime(memory) {}
        #expect(pfi_packed_bytes_winograd_s8(PFI_PORTABLE, 24, 8) == 0)
    }

    @Test func codesBecomeFloats() {
        var random = KeyedRandom(seed: 5, purpose: .test)
        let codes = (0..<5 * 20).map { _ in UInt8(random.below(256)) }
        var floats = [Float](repeating: -1, count: 5 * 18)
        pfi_decode(codes, 20, 17, 5, 64, 0.3, &floats, 18)
        for row in 0..<5 {
            for c in 0..<17 { #expect(floats[row * 18 + c] == Float(Int(codes[row * 20 + c]) - 64) * 0.3) }
            #expect(floats[row * 18 + 17] == -1)
        }
    }

    @Test func theDefaultSetIsOneThatIsThere() {
        var problem = UnsafePointer<CChar>?.none
        #expect(pfi_has_isa(pfi_default_isa(&problem)) != 0)
        #expect(pfi_has_isa(PFI_PORTABLE) != 0)
        #expect(Set(Self.sets.map(Self.name)).count == Self.sets.count)
    }
}
