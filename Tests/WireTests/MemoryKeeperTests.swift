import TestSupport
import Testing
import Wire

/// When a server asks the allocator for what nobody uses.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct MemoryKeeperTests {
    /// A process whose memory is `inUse`, and what was freed and is still with the allocator.
    private struct Process {
        var inUse = 50 << 20
        var freed = 0
        var attempts = 0
        var keeper: MemoryKeeper
        var now: ContinuousClock.Instant

        init() {
            now = .now
            keeper = MemoryKeeper(now)
        }

        mutating func free(_ byteCount: Int) {
            inUse -= byteCount
            freed += byteCount
        }

        mutating func wait(seconds: Int) {
            for _ in 0..<seconds * 4 {
                now += .milliseconds(250)
                var (isAsked, resident) = (false, inUse + freed)
                keeper.turn(
                    now, resident: { resident },
                    giveBack: {
                        isAsked = true
                        resident = inUse
                    })
                if isAsked {
                    freed = 0
                    attempts += 1
                }
            }
        }
    }

    @Test func whatIsFreedLongAfterABurstIsGivenBack() {
        var process = Process()
        process.wait(seconds: 20)
        process.inUse += 500 << 20
        process.keeper.isDue = true
        process.wait(seconds: 5)
        process.free(100 << 20)
        process.wait(seconds: 15)
        process.free(400 << 20)
        process.wait(seconds: 70)
        #expect(process.freed == 0)
    }

    @Test func aProcessThatHasGrownForGoodIsAskedOnceAMinute() {
        var process = Process()
        process.wait(seconds: 20)
        process.inUse += 500 << 20
        process.wait(seconds: 120)
        let before = process.attempts
        process.wait(seconds: 600)
        #expect(process.attempts - before <= 11)
        #expect(process.attempts > before)
    }

    @Test func manyEndedConnectionsAreOneReason() {
        var process = Process()
        process.wait(seconds: 20)
        process.inUse += 500 << 20
        for _ in 0..<60 {
            process.keeper.isDue = true
            process.wait(seconds: 1)
        }
        #expect(process.attempts <= 31)
    }
}
