import Cluster
import ParameterStore
import Tensors

/// What an operator writes about classes, as operations.
enum ClassOrders {
    /// Reads an order's arguments.
    ///
    /// - Throws: `OfflineError` or `SafeTensorsError` that says what is wrong with them.
    static func operation(_ arguments: [String: String], embeddingSize: Int) throws -> ClassOperation {
        func number(_ name: String) throws -> Int {
            guard let text = arguments[name], let number = Int(text), number >= 0 else {
                throw OfflineError("\(name) \"\(arguments[name] ?? "")\" is not a number")
            }
            return number
        }
        switch arguments["action"] {
        case "add":
            let count = try number("count")
            let path = arguments["from"] ?? ""
            if !path.isEmpty {
                let shape = try SafeTensorsFile(path).reals("centers").shape
                guard shape == [count, embeddingSize] else {
                    throw OfflineError("\(path): centers is \(shape), expected [\(count), \(embeddingSize)]")
                }
            }
            return .add(count: count, path: path)
        case "retire": return .retire(try classes(arguments["list"] ?? ""))
        case "merge": return .merge(from: try number("a"), into: try number("b"))
        default: throw OfflineError("classes knows list, add, retire and merge")
        }
    }

    /// Numbers of classes are below this: one past it can be written too.
    private static let classLimit = 1 << 48

    /// The classes of `4,17,100-199`.
    static func classes(_ list: String) throws -> SliceSet {
        var ranges: [Range<Int>] = []
        for part in list.split(separator: ",") {
            let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map {
                Int($0.filter { $0 != " " })
            }
            guard let first = ends[0], let last = ends[ends.count - 1], first >= 0, last >= first, last < classLimit
            else { throw OfflineError("\"\(part)\" in \"\(list.prefix(100))\" is no class and no range of classes") }
            ranges.append(first..<last + 1)
        }
        guard !ranges.isEmpty else { throw OfflineError("no class is named") }
        let classes = SliceSet(ranges)
        guard classes.count == ranges.reduce(0, { $0 + $1.count }) else {
            throw OfflineError("a class is named twice in \"\(list.prefix(100))\"")
        }
        return classes
    }
}
