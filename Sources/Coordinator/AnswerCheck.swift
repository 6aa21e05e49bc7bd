/// What operators' commands count on in an answer, whoever gave it.
package enum AnswerCheck {
    /// Whole numbers are at most this far from 0: those of every shard can be added up.
    private static let limit = 1 << 48

    /// Why nobody can have meant this, with the name of the field; nil if somebody can. Looks at every whole number and every list of
    /// ranges (first and one past the last) in `answer`, at any depth.
    package static func problem(of answer: Any, in field: String = "it") -> String? {
        switch answer {
        case let number as Int: return (-limit...limit).contains(number) ? nil : "\(field) is \(number)"
        case let ranges as [[Int]]:
            let isGood = ranges.allSatisfy { $0.count == 2 && 0 <= $0[0] && $0[0] <= $0[1] && $0[1] <= limit }
            return isGood ? nil : "\(field) has ranges that are none"
        case is String, is Bool, is [Float?], is Double: return nil
        default:
            for child in Mirror(reflecting: answer).children {
                if let problem = problem(of: child.value, in: child.label == "some" ? field : child.label ?? field) {
                    return problem
                }
            }
            return nil
        }
    }
}
