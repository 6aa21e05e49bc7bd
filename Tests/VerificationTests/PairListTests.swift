import Dataset
import Foundation
import TestSupport
import Testing
import Verification

private func folder() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (name, value) in [("A/A_0001.pgm", 1), ("A/A_0002.pgm", 2), ("B_C_0001.pgm", 3), ("B_C/B_C_0012.pgm", 4)] {
        _ = try folder.write(pgm(UInt8(value)), to: "images/" + name)
    }
    return folder
}

private func load(_ list: String, _ folder: TemporaryFolder, missing: BadSamplePolicy = .fatal) throws
    -> VerificationSet
{
    let path = try folder.write(Array(list.utf8), to: "pairs.txt")
    return try VerificationSet(pairsPath: path, imagesIn: folder.path + "/images", imageShape: gray2, missing: missing)
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PairListTests {
    @Test func lfwFormat() throws {
        let folder = try folder()
        let set = try load("2\t1\nA\t1\t2\nA\t1\tB_C\t1\nB_C\t1\t12\nB_C\t12\tA\t2\n", folder)
        #expect(set.pairs.map(\.same) == [true, false, true, false] && set.pairs.map(\.fold) == [0, 0, 1, 1])
        #expect(
            try set.pairs.map { [try set.pixels(of: $0.first)[0], try set.pixels(of: $0.second)[0]] } == [
                [1, 2], [1, 3], [3, 4], [4, 2],
            ])
        #expect(set.images.sampleCount == 4)
    }

    /// Every number of a line without tabs is a way to read it: only so many are tried.
    @Test func aLineOfManyNumbersIsNoPair() throws {
        let folder = try folder()
        let line = [String](repeating: "1", count: 100).joined(separator: " ")
        let error = #expect(throws: DatasetError.self) { try load("1 1\n\(line)\n\(line)\n", folder) }
        #expect("\(error!)".contains("is neither"))
    }

    @Test func quotesCountAtTheBeginningOfAField() throws {
        let folder = try folder()
        let set = try load("fold,a,b,same\n0, \"A_0001.pgm\",A_0002.pgm,1\n", folder)
        #expect(set.pairs.count == 1)
        #expect(throws: DatasetError.self) {
            try load("fold,a,b,same\n0,x\"A_0001.pgm\",A_0002.pgm,1\n", folder)
        }
    }

    @Test func commaSeparatedFormat() throws {
        let folder = try folder()
        let set = try load("fold,a,b,same\n0,A_0001.pgm,A_0002.pgm,1\n3,A_0002.pgm,B_C_0012.pgm,0\n", folder)
        #expect(set.pairs.map(\.fold) == [0, 3] && set.pairs.map(\.same) == [true, false])
    }

    @Test func missingImagesAreFatalOrLeftOut() throws {
        let folder = try folder()
        let list = "1\t1\nA\t1\t2\nA\t1\tD\t1\n"
        let error = try #require(throws: DatasetError.self) { try load(list, folder) }
        #expect(error.message.contains("line 3") && error.message.contains("D_0001"))
        let set = try load(list, folder, missing: .skip)
        #expect(set.pairs.count == 1 && set.problems.count == 1)
        #expect(throws: DatasetError.self) {
            try load("fold,a,b,same\n0,../x.pgm,A_0001.pgm,1\n", folder, missing: .skip)
        }
    }

    /// Lists as spreadsheets and Windows write them.
    @Test func otherWritersAreUnderstood() throws {
        let folder = try folder()
        let expected = [VerificationPair(first: 0, second: 1, same: true, fold: 0)]
        let comma = "fold,a,b,same\r\n0,A_0001.pgm,A_0002.pgm,1\r\n"
        for list in [
            "\u{FEFF}" + comma, "Fold, A, B, Same\n0, A_0001.pgm , A_0002.pgm, 1\n\n  \n",
            "fold,a,b,same\n0,\"A_0001.pgm\",\"A_0002.pgm\",1",
        ] { #expect(try load(list, folder).pairs == expected, "\(list)") }
        let path = try folder.write([UInt8](try #require(comma.data(using: .utf16))), to: "wide.csv")
        let set = try VerificationSet(pairsPath: path, imagesIn: folder.path + "/images", imageShape: gray2)
        #expect(set.pairs == expected && set.path == path)
        #expect(try load("\u{FEFF}1\t1\nA\t1\t2\nA\t1\tB_C\t1\n", folder).pairs.count == 2)
    }

    @Test(arguments: ["\t", " "]) func namesMayHaveSpaces(separator: String) throws {
        let folder = try folder()
        for (name, value) in [("Ann Mary_0001.pgm", 11), ("Ann Mary_0002.pgm", 12), ("Area 51_0001.pgm", 13)] {
            _ = try folder.write(pgm(UInt8(value)), to: "images/" + name)
        }
        _ = try folder.write(pgm(14), to: "images/Area 51/Area 51_0002.pgm")
        let rows = [
            ["Ann Mary", "1", "2"], ["Area 51", "1", "2"], ["Ann Mary", "2", "A", "1"],
            ["Area 51", "2", "Ann Mary", "1"],
        ]
        let set = try load("1\t2\n" + rows.map { $0.joined(separator: separator) }.joined(separator: "\n"), folder)
        #expect(set.pairs.map(\.same) == [true, true, false, false])
        #expect(
            try set.pairs.map { [try set.pixels(of: $0.first)[0], try set.pixels(of: $0.second)[0]] } == [
                [11, 12], [13, 14], [12, 1], [14, 11],
            ])
        let comma = try load("fold,a,b,same\n0,Ann Mary_0001.pgm,\"Area 51_0001.pgm\",0\n", folder)
        #expect(comma.pairs.count == 1)
        _ = try folder.write(pgm(15), to: "images/Doe, J_0001.pgm")
        #expect(try load("fold,a,b,same\n0,\"Doe, J_0001.pgm\",A_0001.pgm,0\n", folder).pairs.count == 1)
        #expect(throws: DatasetError.self) { try load("fold,a,b,same\n0,Doe, J_0001.pgm,A_0001.pgm,0\n", folder) }
    }

    @Test func imagesMayHaveOtherEndings() throws {
        let folder = try folder()
        for name in ["D_0001.webp", "D_0002.JPG", "D/D_0003.bmp", "D_0004"] {
            _ = try folder.write(pgm(9), to: "images/" + name)
        }
        #expect(try load("1\t1\nD\t1\t2\nD\t3\tD\t4\n", folder).images.sampleCount == 4)
        // Converted after the list was written.
        #expect(try load("fold,a,b,same\n0,D_0001.jpg,D_0003.png,1\n", folder).pairs.count == 1)
        _ = try folder.write([1], to: "images/E_0001/x.txt")
        #expect(throws: DatasetError.self) { try load("1\t1\nE\t1\t1\nD\t3\tD\t4\n", folder) }
    }

    @Test(arguments: [
        "", "hello\n", "1\t2\nA\t1\t2\n", "1\t1\nA\t1\t2\nA\t1\t2\t3\t4\n", "1\t1\nA\tx\t2\nA\t1\tB_C\t1\n",
        "fold,a,b,same\n0,a,b\n",
        "fold,a,b,same\n0,A_0001.pgm,A_0002.pgm,yes\n", "99999999999999999999\t1\n", "fold,a,b,same\n",
    ])
    func malformedListsAreRefused(list: String) throws {
        let folder = try folder()
        #expect(throws: DatasetError.self) { try load(list, folder) }
    }

    @Test(.enabled(if: dataDirectory != nil, "set DATA_DIR to the folder with lfw_gray112"))
    func officialListIsRead() throws {
        let folder = try folder()
        let path = try #require(dataDirectory) + "/lfw_gray112/pairs.txt"
        // No image is here, but every line is understood: the only complaint is that.
        let error = try #require(throws: DatasetError.self) {
            try VerificationSet(pairsPath: path, imagesIn: folder.path + "/images", imageShape: gray2, missing: .skip)
        }
        #expect(error.code == .noSamples)
    }
}
