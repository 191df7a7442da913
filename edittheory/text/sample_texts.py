"""A small set of news-like texts written for this package: the fall-back of `edittheory.text.corpora` and what tests use."""

SAMPLE_TEXTS: tuple[str, ...] = (
    "City library opens on Sundays. It is the first change of hours in twenty years, and the staff do not expect quiet"
    " afternoons. Many people have asked for it since the spring.",
    "Ferry service returns to the northern islands. The company said it will run four boats a day until the end of"
    " October. Residents had not seen a regular crossing since the storm.",
    "Bakers agree on a price for rye bread. They are worried about the cost of flour, which has doubled in a year. "
    "The agreement is not binding.",
    "School garden wins a national prize. The children grew beans, pumpkins and more than thirty kinds of herbs. Their"
    " teacher said that it was not about the prize.",
    "Bridge repairs will take until winter. Engineers found that two pillars are not as strong as they should be. Heavy"
    " trucks cannot cross before November.",
    "Museum finds a lost letter behind a frame. It is from 1872 and it was never sent. Visitors will see it in the main"
    " hall from Friday.",
    "Night trains come back to the mountain line. Passengers will leave at nine and wake up by the lake. The first"
    " tickets were gone in 3.5 hours, the railway said.",
    "Farmers report an early apple harvest. A warm April and a dry June have moved the season by three weeks. People"
    " who pick for a living were not ready for it.",
    "Harbour town bans loud engines after dark. Dr. Maria Lind, who lives near the pier, said she is sleeping well for"
    " the first time. Boat owners do not agree.",
    "Volunteers count seals along the coast. They have seen more than 4,000 animals, a record for the month of August. "
    "It is still not clear why the number is so large.",
    "Old cinema reopens with a silent film. A pianist will play live, and the man who sold tickets here in 1961 will"
    " open the doors. There is no popcorn on the first night.",
    "Hospital tests a quieter alarm. Nurses said that they could not hear themselves think during busy hours. Early"
    " results are good, although the trial is not finished.",
    "Mayor promises more trees in the old town. We are late, she said, but we have not lost the summer. The first"
    " hundred will stand on Market Street by May.",
    "Cyclists ask for a second lane. I was nearly hit twice in a week, one rider told the council. The vote is on"
    " Tuesday and it is expected to be close.",
    "Telescope sees rain on a distant planet. The drops are not water but liquid iron, the team wrote. It is too far"
    " away for anyone to visit, of course.",
    "Bus drivers begin a two-day strike. They want to be paid for the minutes between two shifts. The company said it"
    " would not comment before the talks on Thursday.",
    "Students build a boat out of bottles. It is six metres long and it has crossed the lake once. They will attempt"
    " the crossing again, with a cook and a dog on board.",
    "Power cut leaves the valley dark for five hours. A fallen tree was the cause, and nobody was hurt. Shops gave away"
    " ice cream because they could not keep it cold.",
    "Chess club meets in a laundry. It is warm, it is open late and nobody minds the noise, its founder said. The club"
    " has grown from 6 to 48 members.",
    "Court allows the sale of the old mill. Neighbours had argued that the building is part of the village. The new"
    " owner said that he will not tear it down.",
    "Storm warning lifted for the southern coast. Winds remained below 90 km/h, much less than forecasters had feared. "
    "People who had left their homes were told that they could return.",
    "Researchers teach a robot to fold shirts. It is slow: one shirt takes approximately four minutes. But it does not"
    " get bored, and it has not torn one yet.",
    "Village shop is run by its customers. They have bought it together, and each of them works there for two hours a"
    " week. It is the only shop for twelve miles.",
    "Goalkeeper scores in the last minute. I do not know what I was doing there, he said after the match. His team will"
    " stay in the first division for another year.",
)
