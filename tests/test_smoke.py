from comparing import answers, check_whole
def test_a(play, calls, small_run):
    r = play(); print(calls()); check_whole(r, 6, 2); answers(r); print(r.config)
    check_whole(small_run,12,3)
