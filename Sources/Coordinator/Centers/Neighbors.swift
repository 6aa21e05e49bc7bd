import ArgumentParser
import Foundation
import ProcessSupport
import Tensors

/// `coordinator neighbors`.
struct Neighbors: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find the classes whose centers are nearest to one: identities that may be the same person.",
        discussion: """
            Reads every center once, from every shard. If two classes turn out to be one, `coordinator classes merge` makes them one.
            """)
    @Argument(help: "The number of the class.") var id: Int
    @Option(name: .shortAndLong, help: "How many.") var k = 10
    @OptionGroup var connection: Connection

    /// The JSON that it prints is a list of these, the nearest first.
    struct Neighbor: Codable {
        var id: Int
        var cosine: Double
    }

    func validate() throws {
        guard (1...100_000).contains(k) else { throw ValidationError("-k \(k) is not in 1...100000") }
    }

    func run() throws {
        let reader = try CenterReader(connection)
        guard let place = reader.place(of: id) else { throw connection.noClass(id, of: reader.classCount) }
        let query = try reader.read([Int64(id)], ofSlice: place.slice).rows.array(Float.self)
        let length = query.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        guard length > 0 else {
            connection.complain("the center of class \(id) has no direction: it is zero")
            throw ExitCode(69)
        }
        var found: [Neighbor] = []
        try reader.readAll { ids, rows in
            let products = CenterProducts.of(query, with: rows)
            for (index, norm) in norms(of: rows).enumerated() where ids[index] != Int64(id) && norm > 0 {
                found.append(Neighbor(id: Int(ids[index]), cosine: Double(products[index]) / (norm * length)))
            }
            // Twice as many as are wanted at most, so that the sorting is seldom.
            if found.count > 2 * k + 4096 { found = Self.nearest(found, k) }
        }
        let neighbors = Self.nearest(found, k)
        connection.print(neighbors) {
            var table = TextTable(["class", "cosine"])
            for neighbor in neighbors { table.add(["\(neighbor.id)", Units.fixed(neighbor.cosine, 4)]) }
            return table.render()
        }
    }

    private static func nearest(_ all: [Neighbor], _ count: Int) -> [Neighbor] {
        Array(all.sorted { ($1.cosine, $0.id) < ($0.cosine, $1.id) }.prefix(count))
    }
}
