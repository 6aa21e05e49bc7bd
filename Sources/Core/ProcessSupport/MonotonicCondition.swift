internal import Glibc

/// A lock and a condition to wait for, with deadlines by a clock that nobody sets.
///
/// `NSCondition` waits until a time of day: where the clock is set back by an hour, it waits an hour longer.
public final class MonotonicCondition: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    public init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    public func lock() { pthread_mutex_lock(mutex) }
    public func unlock() { pthread_mutex_unlock(mutex) }

    /// Does `body` with the lock held.
    public func withLock<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        lock()
        defer { unlock() }
        return try body()
    }

    /// Wakes one that waits.
    public func signal() { pthread_cond_signal(condition) }

    /// Wakes all that wait.
    public func broadcast() { pthread_cond_broadcast(condition) }

    /// Gives the lock up until it is woken, perhaps for nothing.
    public func wait() { pthread_cond_wait(condition, mutex) }

    /// Gives the lock up until it is woken, perhaps for nothing, or `deadline` has come.
    ///
    /// - Returns: false if the deadline has come.
    public func wait(until deadline: ContinuousClock.Instant) -> Bool {
        let left = deadline - .now
        guard left > .zero else { return false }
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let (seconds, attoseconds) = min(left, .seconds(3600)).components
        time.tv_nsec += Int(attoseconds / 1_000_000_000)
        time.tv_sec += Int(seconds) + time.tv_nsec / 1_000_000_000
        time.tv_nsec %= 1_000_000_000
        pthread_cond_timedwait(condition, mutex, &time)
        return ContinuousClock.now < deadline
    }
}
