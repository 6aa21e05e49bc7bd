import Foundation

/// Pictures of 8 × 8 pixels by Pillow, and what Pillow's `convert("RGB")` makes of them: an FNV-1a hash of the pixels.
struct KnownPicture: Sendable {
    let name: String
    let pixelHash: UInt64
    private let text: String

    var bytes: [UInt8] { [UInt8](Data(base64Encoded: text) ?? Data()) }

    static func named(_ name: String) -> KnownPicture { all.first { $0.name == name } ?? all[0] }

    static let all: [KnownPicture] = [
        KnownPicture(
            name: "jpeg", pixelHash: 0x4f01_7cdd_22fc_5ef0,
            text: """
                /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU\
                FRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU\
                FBQUFBQUFBT/wAARCAAIAAgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUF\
                BAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVW\
                V1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi\
                4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAEC\
                AxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVm\
                Z2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq\
                8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDkfg7+yR/qP9C9P4aKKK2weIqeyWp38D8X5v8A2PT/AHv9fef/2Q==
                """),
        KnownPicture(
            name: "progressive", pixelHash: 0x4f01_7cdd_22fc_5ef0,
            text: """
                /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMU\
                FRUVDA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU\
                FBQUFBQUFBT/wgARCAAIAAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xAAVAQEBAAAAAAAAAAAAAAAAAAACA//a\
                AAwDAQACEAMQAAABkB3/AP/EABYQAAMAAAAAAAAAAAAAAAAAAAAFBv/aAAgBAQABBQJPJH//xAAZEQABBQAAAAAAAAAAAAAAAAAF\
                AAIEFCL/2gAIAQMBAT8BBl5dNul//8QAFxEAAwEAAAAAAAAAAAAAAAAAAAIDEv/aAAgBAgEBPwGNGyf/xAAWEAADAAAAAAAAAAAA\
                AAAAAAAAASL/2gAIAQEABj8CUH//xAAVEAEBAAAAAAAAAAAAAAAAAAAA8f/aAAgBAQABPyGc/9oADAMBAAIAAwAAABAH/8QAFhEA\
                AwAAAAAAAAAAAAAAAAAAAMHw/9oACAEDAQE/EJln/8QAFhEAAwAAAAAAAAAAAAAAAAAAABEh/9oACAECAQE/EENP/8QAFRABAQAA\
                AAAAAAAAAAAAAAAAAKH/2gAIAQEAAT8Qjn//2Q==
                """),
        KnownPicture(
            name: "cmyk", pixelHash: 0xd661_dd51_0b0f_ca32,
            text: """
                /9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV\
                FQwPFxgWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIB\
                AwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZH\
                SElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV\
                1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwDu/wDgoj/zE/8AgVd3/wAPEf8AqJ/+P13f7RP7RP8Ax9f6\
                V6/xV8bfCTwj/qfk9O1f/9k=
                """),
        KnownPicture(
            name: "png16", pixelHash: 0x5504_7036_6d34_e9dc,
            text: """
                iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIEAIAAAAb/fWfAAABk0lEQVR42gGIAXf+AAAABKEAAB26BKEPrDvYBKEfvFn2BKEvzHgU\
                BKE/3JYyBKFP7LRQBKFf/NJuBKFwDAABniK/D6wfvCK/H7w92iK/L8xb+CK/P9x6FiK/T+yYNCK/X/y2UiK/cAzUcCK/gBwAA6BA\
                3R+8Ib5A3S/MP9xA3T/cXfpA3U/sfBhA3V/8mjZA3XAMuFRA3YAc1nJA3ZAsAAWiXvsvzCPAXvs/3EHeXvtP7F/8Xvtf/H4aXvtw\
                DJw4XvuAHLpWXvuQLNh0XvugPAAHpH0ZP9wlwn0ZT+xD4H0ZX/xh/n0ZcAyAHH0ZgByeOn0ZkCy8WH0ZoDzadn0ZsEwACaabN0/s\
                J8SbN1/8ReKbN3AMZACbN4Acgh6bN5AsoDybN6A8vlqbN7BM3HibN8BcAAuouVVf/CnGuVVwDEfkuVWAHGYCuVWQLIQguVWgPKI+\
                uVWwTMBcuVXAXN56uVXQbAANqtdzcAwryNdzgBxJ5tdzkCxoBNdzoDyGItdzsEykQNdzwFzCXtdz0GzgfNdz4Hyf/rNyDq0/TAAA\
                AABJRU5ErkJggg==
                """),
        KnownPicture(
            name: "gama", pixelHash: 0x3d52_add2_a448_4445,
            text: """
                iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAABGdBTUEAAYagMeiWXwAAANNJREFUeNoByAA3/wAABQAeBRA8BSBa\
                BTB4BUCWBVC0BWDSBXAAAiMQICMgPiMwXCNAeiNQmCNgtiNw1COAAARBICJBMEBBQF5BUHxBYJpBcLhBgNZBkAAGXzAkX0BCX1Bg\
                X2B+X3CcX4C6X5DYX6AACH1AJn1QRH1gYn1wgH2Ann2QvH2g2n2wAAqbUCibYEabcGSbgIKbkKCboL6bsNybwAAMuWAquXBIuYBm\
                uZCEuaCiubDAucDeudAADtdwLNeASteQaNeghtewpNfAwtfQ4NfgxB9TgVxePcoAAAAASUVORK5CYII=
                """),
        KnownPicture(
            name: "rgba", pixelHash: 0x3d52_add2_a448_4445,
            text: """
                iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAYAAADED76LAAAAHklEQVR4nGNkYGVgkGMQUMGFWZjkBBiYGHDj4aEAAGwsByMlffc7\
                AAAAAElFTkSuQmCC
                """),
        KnownPicture(
            name: "palette", pixelHash: 0xea88_797a_7ba3_5e70,
            text: """
                iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIBAMAAAA2IaO4AAAAGFBMVEXJvceJuaM1tnSkcIwtbEu/J3d/I1MrICQIoG2eAAAAA3RS\
                TlP//wDXyg1BAAAAKUlEQVR4nDXJQREAIAwEseWmnlGJhzpYB5QX+WZtNAwEhjpIAOq2pn88/BkMvQCxXjEAAAAASUVORK5CYII=
                """),
        KnownPicture(
            name: "webp", pixelHash: 0x5a13_db8f_6634_4c3c,
            text: """
                UklGRlgAAABXRUJQVlA4IEwAAADwAQCdASoIAAgAAMASJagCdAEsdyiDlAAA/v9c874YUDzzbXOXDzBBDje7n46RG2IV//8Yv/A8\
                TfF//7Z3/+B3R///V//8UrORAAAA
                """),
        KnownPicture(
            name: "webpLossless", pixelHash: 0x3d52_add2_a448_4445,
            text: """
                UklGRjQAAABXRUJQVlA4TCcAAAAvB8ABALmM6H/sIqL/AUVt20A9aZQ/0P1GQCCb4i+QBiImoOD3+gYA
                """),
        KnownPicture(
            name: "webpAlpha", pixelHash: 0xe6bc_91f4_4472_20f9,
            text: """
                UklGRpwAAABXRUJQVlA4WAoAAAAQAAAABwAABwAAQUxQSB4AAAABPyAQSILZn3KIiEgdhNlGCmMZy1jO/3sGEf0PbB9WUDggWAAA\
                ANABAJ0BKggACAAAwBIlqAJ0APSuxrYAAP7+ejMUZeZ/wa/pHAXmQfTzA/E+1IRC5ynKv2XHYKPsG+OkRti/Sf+Gv/A8TfF//7Z3\
                /+B3R///UI/8IKAAAAA=
                """),
        KnownPicture(
            name: "bmp", pixelHash: 0x3d52_add2_a448_4445,
            text: """
                Qk32AAAAAAAAADYAAAAoAAAACAAAAAgAAAABABgAAAAAAMAAAADEDgAAxA4AAAAAAAAAAAAAcNcOgNcskNdKoNdosNeGwNek0NfC\
                4NfgYLkMcLkqgLlIkLlmoLmEsLmiwLnA0LneUJsKYJsocJtGgJtkkJuCoJugsJu+wJvcQH0IUH0mYH1EcH1igH2AkH2eoH28sH3a\
                MF8GQF8kUF9CYF9gcF9+gF+ckF+6oF/YIEEEMEEiQEFAUEFeYEF8cEGagEG4kEHWECMCICMgMCM+QCNcUCN6YCOYcCO2gCPUAAUA\
                EAUeIAU8MAVaQAV4UAWWYAW0cAXS
                """),
        KnownPicture(
            name: "bmpGray", pixelHash: 0x192f_b922_33d0_0f50,
            text: """
                Qk12BAAAAAAAADYEAAAoAAAACAAAAAgAAAABAAgAAAAAAEAAAADEDgAAxA4AAAABAAAAAQAAAAAAAAEBAQACAgIAAwMDAAQEBAAF\
                BQUABgYGAAcHBwAICAgACQkJAAoKCgALCwsADAwMAA0NDQAODg4ADw8PABAQEAAREREAEhISABMTEwAUFBQAFRUVABYWFgAXFxcA\
                GBgYABkZGQAaGhoAGxsbABwcHAAdHR0AHh4eAB8fHwAgICAAISEhACIiIgAjIyMAJCQkACUlJQAmJiYAJycnACgoKAApKSkAKioq\
                ACsrKwAsLCwALS0tAC4uLgAvLy8AMDAwADExMQAyMjIAMzMzADQ0NAA1NTUANjY2ADc3NwA4ODgAOTk5ADo6OgA7OzsAPDw8AD09\
                PQA+Pj4APz8/AEBAQABBQUEAQkJCAENDQwBEREQARUVFAEZGRgBHR0cASEhIAElJSQBKSkoAS0tLAExMTABNTU0ATk5OAE9PTwBQ\
                UFAAUVFRAFJSUgBTU1MAVFRUAFVVVQBWVlYAV1dXAFhYWABZWVkAWlpaAFtbWwBcXFwAXV1dAF5eXgBfX18AYGBgAGFhYQBiYmIA\
                Y2NjAGRkZABlZWUAZmZmAGdnZwBoaGgAaWlpAGpqagBra2sAbGxsAG1tbQBubm4Ab29vAHBwcABxcXEAcnJyAHNzcwB0dHQAdXV1\
                AHZ2dgB3d3cAeHh4AHl5eQB6enoAe3t7AHx8fAB9fX0Afn5+AH9/fwCAgIAAgYGBAIKCggCDg4MAhISEAIWFhQCGhoYAh4eHAIiI\
                iACJiYkAioqKAIuLiwCMjIwAjY2NAI6OjgCPj48AkJCQAJGRkQCSkpIAk5OTAJSUlACVlZUAlpaWAJeXlwCYmJgAmZmZAJqamgCb\
                m5sAnJycAJ2dnQCenp4An5+fAKCgoAChoaEAoqKiAKOjowCkpKQApaWlAKampgCnp6cAqKioAKmpqQCqqqoAq6urAKysrACtra0A\
                rq6uAK+vrwCwsLAAsbGxALKysgCzs7MAtLS0ALW1tQC2trYAt7e3ALi4uAC5ubkAurq6ALu7uwC8vLwAvb29AL6+vgC/v78AwMDA\
                AMHBwQDCwsIAw8PDAMTExADFxcUAxsbGAMfHxwDIyMgAycnJAMrKygDLy8sAzMzMAM3NzQDOzs4Az8/PANDQ0ADR0dEA0tLSANPT\
                0wDU1NQA1dXVANbW1gDX19cA2NjYANnZ2QDa2toA29vbANzc3ADd3d0A3t7eAN/f3wDg4OAA4eHhAOLi4gDj4+MA5OTkAOXl5QDm\
                5uYA5+fnAOjo6ADp6ekA6urqAOvr6wDs7OwA7e3tAO7u7gDv7+8A8PDwAPHx8QDy8vIA8/PzAPT09AD19fUA9vb2APf39wD4+PgA\
                +fn5APr6+gD7+/sA/Pz8AP39/QD+/v4A////AI+apbC6xdDbe4aRnKaxvMdncn2Hkp2os1NeaXN+iZSfP0pVX2p1gIsrNkFLVmFs\
                dxciLTdCTVhjAw4ZIy45RE4=
                """),
        KnownPicture(
            name: "bmpPalette", pixelHash: 0xea88_797a_7ba3_5e70,
            text: """
                Qk2WAAAAAAAAAFYAAAAoAAAACAAAAAgAAAABAAgAAAAAAEAAAADEDgAAxA4AAAgAAAAIAAAAx73JAKO5iQB0tjUAjHCkAEtsLQB3\
                J78AUyN/ACQgKwACAgIBAQAAAAICAgEBAQAABAICAgEBAAAEBAQEAwMDAwQEBAQDAwMDBwcHBgYFBQUHBwcGBgYFBQcHBwcGBgUF
                """),
    ]
}
