import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TensorPoolTests {
    @Test func whatComesBackIsLentAgain() throws {
        let pool = TensorPool()
        var first = pool.storage(byteCount: 3 << 20)
        let address = first?.base
        #expect(UInt(bitPattern: address) % UInt(2 << 20) == 0)
        #expect(first?.byteCount == 3 << 20)
        #expect(pool.lentByteCount >= 3 << 20 && pool.idleByteCount == 0)
        first = nil
        #expect(pool.lentByteCount == 0 && pool.idleByteCount >= 3 << 20)
        let second = try #require(pool.storage(byteCount: 3 << 20 - 1000))
        let third = try #require(pool.storage(byteCount: 3 << 20))
        defer { withExtendedLifetime((second, third)) {} }
        #expect(second.base == address && third.base != address)
    }

    @Test func noMoreIsKeptThanAllowed() throws {
        let pool = TensorPool(idleByteCapacity: 10 << 20)
        do {
            let lent = try (0..<5).map { _ in try #require(pool.storage(byteCount: 4 << 20)) }
            defer { withExtendedLifetime(lent) {} }
            #expect(pool.lentByteCount >= 20 << 20)
        }
        #expect(pool.lentByteCount == 0)
        #expect((4 << 20...10 << 20).contains(pool.idleByteCount))
        #expect(try #require(pool.storage(byteCount: 100 << 20)).byteCount == 100 << 20)
        #expect(pool.idleByteCount <= 10 << 20)
    }

    @Test func aSmallTensorGetsNoLargeBlock() throws {
        let pool = TensorPool()
        do { _ = try #require(pool.storage(byteCount: 64 << 20)) }
        let idle = pool.idleByteCount
        let small = try #require(pool.storage(byteCount: 1 << 20))
        #expect(small.byteCount == 1 << 20 && pool.idleByteCount == idle)
        withExtendedLifetime(small) {}
        let tiny = try #require(pool.storage(byteCount: 0))
        #expect(tiny.byteCount == 0)
    }

    @Test func whatIsLentOutlivesThePool() throws {
        var pool: TensorPool? = TensorPool()
        let storage = try #require(pool?.storage(byteCount: 1 << 20))
        pool = nil
        storage.base.storeBytes(of: 7, as: UInt8.self)
        #expect(Tensor(dtype: .u8, shape: [1], storage: storage).array(UInt8.self) == [7])
    }

    @Test func noMemoryIsNoCrash() {
        #expect(TensorPool().storage(byteCount: 1 << 60) == nil)
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct IdleMemoryTests {
    @Test func whatNobodyUsesGoesBack() throws {
        let pool = TensorPool()
        do { _ = try #require(pool.storage(byteCount: 4 << 20)) }
        #expect(pool.idleByteCount >= 4 << 20)
        pool.giveBack(idleFor: .seconds(3600))
        #expect(pool.idleByteCount >= 4 << 20)
        pool.giveBack(idleFor: .zero)
        #expect(pool.idleByteCount == 0)
    }
}
