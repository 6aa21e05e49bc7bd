import Cluster

/// Checks of single fields, used in both directions: nothing is sent that would be refused.
enum Field {
    /// A number from 0 to `limit`, as it came from the wire.
    static func number(_ value: UInt64, _ field: String, limit: Int = Bound.number) throws -> Int {
        guard value <= UInt64(limit) else {
            throw WireError(.field, "\(field) is \(value); at most \(limit) is allowed")
        }
        return Int(value)
    }

    static func number(_ value: UInt32, _ field: String, limit: Int = Bound.small) throws -> Int {
        try number(UInt64(value), field, limit: limit)
    }

    /// A number from -1 (none) up, as it came from the wire.
    static func orNone(_ value: Int64, _ field: String) throws -> Int {
        guard value >= -1 && value <= Int64(Bound.number) else {
            throw WireError(.field, "\(field) is \(value); -1 to \(Bound.number) is allowed")
        }
        return Int(value)
    }

    /// A number to be sent.
    static func number(_ value: Int, _ field: String, limit: Int = Bound.number) throws -> UInt64 {
        guard value >= 0 && value <= limit else {
            throw WireError(.field, "\(field) is \(value); 0 to \(limit) is allowed")
        }
        return UInt64(value)
    }

    static func small(_ value: Int, _ field: String, limit: Int = Bound.small) throws -> UInt32 {
        UInt32(truncatingIfNeeded: try number(value, field, limit: limit))
    }

    static func orNone(_ value: Int, _ field: String) throws -> Int64 { Int64(try orNone(Int64(value), field) as Int) }

    /// Seconds or a norm: not negative. Not-a-number and infinity pass: they are how a diverged run reports itself.
    static func measure(_ value: Double, _ field: String) throws -> Double {
        guard !(value < 0) else { throw WireError(.field, "\(field) is \(value); it cannot be negative") }
        return value
    }

    /// Seconds that have passed: a number, and no more than a century.
    static func duration(_ value: Double, _ field: String) throws -> Double {
        guard value >= 0 && value < 4e9 else {
            throw WireError(.field, "\(field) is \(value); 0 to 4e9 is allowed")
        }
        return value
    }

    static func learningRate(_ value: Float) throws -> Float {
        guard value.isFinite && value >= 0 else {
            throw WireError(.field, "learning_rate is \(value); a finite number from 0 up is allowed")
        }
        return value
    }

    static func head(_ values: HeadValues) throws -> HeadValues {
        if let problem = values.problem { throw WireError(.field, "head: \(problem)") }
        return values
    }

    static func count(_ value: Int, _ field: String, limit: Int) throws -> Int {
        guard value <= limit else { throw WireError(.tooLarge, "\(value) \(field); at most \(limit) are allowed") }
        return value
    }

    static func rank(_ rank: Int, worldSize: Int) throws {
        guard rank < worldSize else { throw WireError(.field, "rank \(rank) in a world of \(worldSize)") }
    }

    static func lossSums(_ count: Int, microBatches: Range<Int>) throws {
        guard count == microBatches.count else {
            throw WireError(.field, "\(count) loss_sums for the \(microBatches.count) micro-batches \(microBatches)")
        }
    }

    /// A value of an enumeration with raw values.
    static func value<E: RawRepresentable>(_ type: E.Type, _ raw: UInt32, _ field: String) throws -> E
    where E.RawValue: FixedWidthInteger {
        guard let narrow = E.RawValue(exactly: raw), let value = E(rawValue: narrow) else {
            throw WireError(.field, "\(field) is \(raw), which names nothing")
        }
        return value
    }

    /// A sub-message that must be there.
    static func required<M>(_ pointer: UnsafeMutablePointer<M>?, _ field: String) throws -> M {
        guard let pointer else { throw WireError(.field, "\(field) is missing") }
        return pointer.pointee
    }
}
