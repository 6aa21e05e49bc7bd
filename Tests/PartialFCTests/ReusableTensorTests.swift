import PartialFC
import Tensors
import TestSupport
import Testing

/// Memory is used again, and given back when a step needs far less of it for good.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ReusableTensorTests {
    private func use(_ pool: inout ReusableTensor, _ count: Int) -> Int {
        let tensor = pool.next(.f32, shape: [count])
        return Int(bitPattern: tensor.rawPointer)
    }

    @Test func whatIsALittleLessIsInTheSameMemory() {
        var pool = ReusableTensor()
        let first = use(&pool, 1000)
        for count in [1000, 900, 300, 1050, 250] { #expect(use(&pool, count) == first, "\(count)") }
        #expect(pool.byteCount >= 4000)
    }

    @Test func whatIsFarTooMuchGoesBack() {
        var pool = ReusableTensor()
        _ = use(&pool, 20_000_000)
        let all = pool.byteCount
        for _ in 0..<10 { _ = use(&pool, 1000) }
        #expect(pool.byteCount == all)
        // Turns of large and small ones: nothing is made anew.
        for count in [20_000_000, 1000, 20_000_000] + Array(repeating: 1000, count: 16) { _ = use(&pool, count) }
        #expect(pool.byteCount == all)
        _ = use(&pool, 1000)
        #expect((4000..<8000).contains(pool.byteCount), "\(pool.byteCount)")
    }

    @Test func aLittleMemoryIsKept() {
        var pool = ReusableTensor()
        _ = use(&pool, 1_000_000)
        for _ in 0..<40 { _ = use(&pool, 10) }
        #expect(pool.byteCount >= 4_000_000)
    }

    @Test func whatIsHeldIsNotTouched() {
        var pool = ReusableTensor()
        let held = pool.next(.f32, shape: [100])
        #expect(pool.next(.f32, shape: [100]).rawPointer != held.rawPointer)
    }
}
