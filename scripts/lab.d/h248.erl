%% A media gateway and a media gateway controller of H.248, on Erlang's own megaco application, as far as the lab needs them.
%%
%% erl -run h248 main gateway CONTROLLER TRANSPORT ENCODING ADDRESS RTP NAME PARTNER SECONDS
%%   Registers from ADDRESS (ServiceChange) and does what it is told. Of each termination it announces a port of its own, and
%%   once it knows the far end RTP (the program rtp.py) sings there as NAME and listens for PARTNER.
%%
%% erl -run h248 main controller ADDRESS TRANSPORT ENCODING GATEWAYS RTP SECONDS
%%   Waits at ADDRESS for so many gateways and makes one call: of one gateway with a voice beside it, or between two. Prints a
%%   line of JSON: the gateways that registered, what each announced, what each reported at the end. Halts by 0 if all went well.
%%
%% TRANSPORT: udp or tcp. ENCODING: text, compact or binary.
-module(h248).

-export([main/1]).
-export([handle_connect/2, handle_disconnect/3, handle_syntax_error/3, handle_message_error/3, handle_trans_request/3,
         handle_trans_long_request/3, handle_trans_reply/4, handle_trans_ack/4, handle_unexpected_trans/3,
         handle_trans_request_abort/4]).

-include_lib("megaco/include/megaco.hrl").
-include_lib("megaco/include/megaco_message_v1.hrl").

-define(ANSWER_MS, 20000).
-define(REGISTRATION_MS, 60000).
%% After a voice has sung: until it has heard what is still on its way.
-define(ECHO_MS, 1000).
%% Ports of voices, apart for each link, so that all links may be tried at once.
-define(GATEWAY_PORTS, 16000).
-define(VOICE_PORTS, 24000).

main([Role, Peer, Transport, Encoding | Rest]) ->
    ok = application:start(megaco),
    register(peer, self()),
    ets:new(state, [named_table, public]),
    Link = {list_to_atom(Transport), list_to_atom(Encoding)},
    case Role of
        "gateway" -> gateway(Peer, Link, Rest);
        "controller" -> halt(controller(Peer, Link, Rest))
    end.

%% --- The gateway ---------------------------------------------------------------------------------------------------------

gateway(Controller, {Transport, Encoding} = Link, [Address, Rtp, Name, Partner, Seconds]) ->
    ets:insert(state, [{address, Address}, {terminations, 0}, {first, ?GATEWAY_PORTS + apart(Link)}]),
    Handle = user(Address, Link),
    Connection = connect(Transport, Controller, Address, port(Encoding), Handle),
    %% Repeated until it is answered.
    Timer = #megaco_incr_timer{wait_for = 4000, factor = 1, incr = 0, max_retries = 10},
    io:format("registered: ~p~n", [element(2, megaco:call(Connection, [registration()], [{request_timer, Timer}]))]),
    serve({Rtp, Name, Partner, Seconds}).

registration() ->
    Parameters = #'ServiceChangeParm'{serviceChangeMethod = restart, serviceChangeReason = [?megaco_cold_boot]},
    Request = #'ServiceChangeRequest'{terminationID = [?megaco_root_termination_id], serviceChangeParms = Parameters},
    action(?megaco_null_context_id, {serviceChangeReq, Request}).

serve(Voice) ->
    receive
        {open, From, Port} ->
            ets:insert(state, {{voice, Port}, voice(Voice, {ets:lookup_element(state, address, 2), Port})}),
            From ! opened;
        {speak, Port, Remote} ->
            sing_to(Remote, ets:lookup_element(state, {voice, Port}, 2));
        {_, {data, {eol, Line}}} ->
            io:format("~s~n", [Line]),
            Figures = [{Key, number(Line, Key)} || Key <- ["sent", "received"]],
            ets:insert(state, {figures, Figures});
        _ -> ok
    end,
    serve(Voice).

number(Line, Key) ->
    {match, [Digits]} = re:run(Line, "\"" ++ Key ++ "\": ([0-9]+)", [{capture, all_but_first, list}]),
    Digits.

%% What a gateway does with a command; the reply to it.
perform({Kind, #'AmmRequest'{terminationID = [Id], descriptors = Descriptors}}) ->
    {Termination, Port} = termination(Kind, Id),
    Streams = lists:append([streams(S) || {mediaDescriptor, #'MediaDescriptor'{streams = S}} <- Descriptors]),
    [peer ! {speak, Port, target(R)} || #'StreamParms'{remoteDescriptor = R} <- Streams, R =/= asn1_NOVALUE],
    Audit = [{mediaDescriptor, announcement(Port)} || #'StreamParms'{localDescriptor = L} <- Streams, L =/= asn1_NOVALUE],
    Reply = case Kind of addReq -> addReply; modReq -> modReply; moveReq -> moveReply end,
    {Reply, #'AmmsReply'{terminationID = [Termination], terminationAudit = optional(Audit)}};
perform({subtractReq, #'SubtractRequest'{terminationID = Id}}) ->
    Figures = figures(?ANSWER_MS div 200),
    Names = [{"sent", "rtp/ps"}, {"received", "rtp/pr"}],
    Statistics = [#'StatisticsParameter'{statName = proplists:get_value(K, Names), statValue = [V]} || {K, V} <- Figures],
    {subtractReply, #'AmmsReply'{terminationID = Id, terminationAudit = [{statisticsDescriptor, Statistics}]}};
perform({auditValueRequest, #'AuditRequest'{terminationID = Id}}) ->
    {auditValueReply, {auditResult, #'AuditResult'{terminationID = Id, terminationAuditResult = []}}}.

%% What the voice has counted; it may be a moment behind.
figures(Tries) ->
    case ets:lookup(state, figures) of
        [{figures, Figures}] -> Figures;
        [] when Tries =:= 0 -> [{"sent", "0"}, {"received", "0"}];
        [] -> timer:sleep(100), figures(Tries - 1)
    end.

termination(addReq, _) ->
    N = ets:update_counter(state, terminations, 1),
    peer ! {open, self(), of_termination(N)},
    receive opened -> ok end,
    {#megaco_term_id{id = [level(N), level(0), level(1)]}, of_termination(N)};
termination(_, #megaco_term_id{id = [Level | _]} = Id) ->
    {Id, of_termination(list_to_integer(Level, 2))}.

of_termination(N) -> ets:lookup_element(state, first, 2) + 2 * N.

%% A level of a name, which both encodings can write.
level(N) -> lists:flatten(io_lib:format("~8.2.0B", [N])).

optional([]) -> asn1_NOVALUE;
optional(List) -> List.

announcement(Port) ->
    Address = ets:lookup_element(state, address, 2),
    Local = #'LocalRemoteDescriptor'{propGrps = [sdp(Address, integer_to_list(Port))]},
    stream(#'StreamParms'{localDescriptor = Local}).

%% --- The controller ------------------------------------------------------------------------------------------------------

controller(Address, {Transport, Encoding} = Link, [Count, Rtp, Seconds]) ->
    Handle = user(Address, Link),
    listen(Transport, Address, port(Encoding), Handle),
    Gateways = gateways(list_to_integer(Count), []),
    Here = {Address, ?VOICE_PORTS + apart(Link)},
    Voices = [voice({Rtp, "left", "right", Seconds}, Here) || [_] <- [Gateways]],
    Added = [add(Gateway) || Gateway <- Gateways],
    Ends = [target(Local) || {_, _, _, Local} <- Added],
    Far = case Ends of [_] -> [Here]; [A, B] -> [B, A] end,
    [modify(One, To) || {One, To} <- lists:zip(Added, Far)],
    [sing_to(hd(Ends), Voice) || Voice <- Voices],
    timer:sleep(round(list_to_float(Seconds) * 1000) + ?ECHO_MS),
    Reports = [subtract(One) || One <- Added],
    [receive {_, {data, {eol, Line}}} -> io:format("~s~n", [Line]) after ?ANSWER_MS -> ok end || _ <- Voices],
    Names = [name(megaco:conn_info(Gateway, remote_mid)) || Gateway <- Gateways],
    io:format("{\"gateways\": ~s, \"announced\": ~s, \"statistics\": ~s}~n",
              [json(Names), json([written(End) || End <- Ends]), json(Reports)]),
    0.

gateways(0, Known) -> Known;
gateways(Count, Known) ->
    receive
        {registered, Gateway} ->
            case lists:member(Gateway, Known) of
                true -> gateways(Count, Known);
                false -> gateways(Count - 1, Known ++ [Gateway])
            end
    after ?REGISTRATION_MS ->
        io:format("only ~p registered~n", [Known]),
        halt(1)
    end.

%% A termination that is chosen by the gateway, with an address that it chooses.
add(Gateway) ->
    Control = #'LocalControlDescriptor'{streamMode = sendRecv, propertyParms = []},
    Local = #'LocalRemoteDescriptor'{propGrps = [sdp("$", "$")]},
    Media = stream(#'StreamParms'{localControlDescriptor = Control, localDescriptor = Local}),
    Any = #megaco_term_id{contains_wildcards = true, id = [[?megaco_choose], [?megaco_choose], [?megaco_choose]]},
    Request = #'AmmRequest'{terminationID = [Any], descriptors = [{mediaDescriptor, Media}]},
    {Context, {addReply, Reply}} = ask(Gateway, ?megaco_choose_context_id, {addReq, Request}),
    #'AmmsReply'{terminationID = [Id], terminationAudit = Audit} = Reply,
    [Chosen] = [L || {mediaDescriptor, #'MediaDescriptor'{streams = S}} <- Audit, #'StreamParms'{localDescriptor = L} <- streams(S)],
    {Gateway, Context, Id, Chosen}.

modify({Gateway, Context, Id, _}, {Host, Port}) ->
    Control = #'LocalControlDescriptor'{streamMode = sendRecv, propertyParms = []},
    Remote = #'LocalRemoteDescriptor'{propGrps = [sdp(Host, integer_to_list(Port))]},
    Media = stream(#'StreamParms'{localControlDescriptor = Control, remoteDescriptor = Remote}),
    Request = #'AmmRequest'{terminationID = [Id], descriptors = [{mediaDescriptor, Media}]},
    {_, {modReply, _}} = ask(Gateway, Context, {modReq, Request}).

%% What the gateway reports of the termination's media.
subtract({Gateway, Context, Id, _}) ->
    {_, {subtractReply, Reply}} = ask(Gateway, Context, {subtractReq, #'SubtractRequest'{terminationID = [Id]}}),
    [Statistics] = [S || {statisticsDescriptor, S} <- Reply#'AmmsReply'.terminationAudit],
    string:join([Name ++ "=" ++ Value || #'StatisticsParameter'{statName = Name, statValue = [Value]} <- Statistics], " ").

ask(Gateway, Context, Command) ->
    case megaco:call(Gateway, [action(Context, Command)], [{request_timer, ?ANSWER_MS}]) of
        {_, {ok, [#'ActionReply'{contextId = Chosen, commandReply = [Reply]}]}} -> {Chosen, Reply};
        {_, Other} ->
            io:format("~p was answered by ~p~n", [element(1, Command), Other]),
            halt(1)
    end.

json(Strings) -> "[" ++ string:join(["\"" ++ S ++ "\"" || S <- Strings], ", ") ++ "]".

%% --- Both ----------------------------------------------------------------------------------------------------------------

port(binary) -> 2945;
port(_) -> 2944.

apart({Transport, Encoding}) ->
    100 * (length([x || Transport =:= tcp]) + 2 * length([x || Encoding =:= binary])).

user(Address, {Transport, Encoding}) ->
    Mid = {ip4Address, #'IP4Address'{address = tuple_to_list(host(Address)), portNumber = port(Encoding)}},
    Encoder = case Encoding of
                  text -> megaco_pretty_text_encoder;
                  compact -> megaco_compact_text_encoder;
                  binary -> megaco_binary_encoder
              end,
    Send = case Transport of tcp -> megaco_tcp; udp -> megaco_udp end,
    ok = megaco:start_user(Mid, [{user_mod, ?MODULE}, {encoding_mod, Encoder}, {encoding_config, []}, {send_mod, Send}]),
    megaco:user_info(Mid, receive_handle).

connect(tcp, Controller, Address, Port, Handle) ->
    {ok, Pid} = megaco_tcp:start_transport(),
    Options = [{host, Controller}, {port, Port}, {receive_handle, Handle}, {tcp_options, [{ip, host(Address)}]}],
    {ok, Socket, Control} = megaco_tcp:connect(Pid, Options),
    {ok, Connection} = megaco:connect(Handle, preliminary_mid, Socket, Control),
    Connection;
connect(udp, Controller, Address, Port, Handle) ->
    {Socket, Control} = open(Address, Port, Handle),
    {ok, Connection} = megaco:connect(Handle, preliminary_mid, megaco_udp:create_send_handle(Socket, Controller, Port), Control),
    Connection.

listen(tcp, Address, Port, Handle) ->
    {ok, Pid} = megaco_tcp:start_transport(),
    ok = megaco_tcp:listen(Pid, [{port, Port}, {receive_handle, Handle}, {tcp_options, [{ip, host(Address)}]}]);
listen(udp, Address, Port, Handle) ->
    open(Address, Port, Handle).

open(Address, Port, Handle) ->
    {ok, Pid} = megaco_udp:start_transport(),
    {ok, Socket, Control} = megaco_udp:open(Pid, [{port, Port}, {receive_handle, Handle}, {udp_options, [{ip, host(Address)}]}]),
    {Socket, Control}.

host(Text) ->
    {ok, Host} = inet:parse_address(Text),
    Host.

action(Context, Command) ->
    #'ActionRequest'{contextId = Context, commandRequests = [#'CommandRequest'{command = Command}]}.

stream(Parameters) ->
    #'MediaDescriptor'{streams = {multiStream, [#'StreamDescriptor'{streamID = 1, streamParms = Parameters}]}}.

streams({multiStream, Streams}) -> [Parameters || #'StreamDescriptor'{streamParms = Parameters} <- Streams];
streams({oneStream, Parameters}) -> [Parameters];
streams(asn1_NOVALUE) -> [].

sdp(Host, Port) ->
    Lines = [{"v", "0"}, {"o", "- 1 1 IN IP4 " ++ Host}, {"s", "-"}, {"c", "IN IP4 " ++ Host}, {"t", "0 0"},
             {"m", "audio " ++ Port ++ " RTP/AVP 8"}, {"a", "ptime:20"}],
    [#'PropertyParm'{name = Name, value = [Value]} || {Name, Value} <- Lines].

%% Address and port of a description.
target(#'LocalRemoteDescriptor'{propGrps = [Group | _]}) ->
    Of = fun(Name) -> hd([Value || #'PropertyParm'{name = N, value = [Value]} <- Group, N =:= Name]) end,
    ["IN", "IP4", Host] = string:tokens(Of("c"), " "),
    [_, Port | _] = string:tokens(Of("m"), " "),
    {Host, list_to_integer(Port)}.

%% A voice at this address that waits for the other end.
voice({Rtp, Name, Partner, Seconds}, Here) ->
    Arguments = [Rtp, Name, Partner, written(Here), Seconds],
    Voice = open_port({spawn_executable, os:find_executable("python3")}, [{args, Arguments}, {line, 1000}]),
    receive {Voice, {data, {eol, "ready"}}} -> Voice end.

sing_to(Remote, Voice) -> port_command(Voice, written(Remote) ++ "\n").

written({Host, Port}) -> Host ++ ":" ++ integer_to_list(Port).

name({ip4Address, #'IP4Address'{address = Octets, portNumber = Port}}) ->
    string:join([integer_to_list(O) || O <- Octets], ".") ++ ":" ++ lists:flatten(io_lib:format("~p", [Port]));
name(Other) -> lists:flatten(io_lib:format("~w", [Other])).

%% --- What the megaco application calls -----------------------------------------------------------------------------------

handle_connect(_, _) -> ok.

handle_disconnect(Connection, _, Reason) ->
    megaco:cancel(Connection, Reason),
    ok.

handle_syntax_error(_, _, Error) ->
    io:format("syntax error: ~p~n", [Error]),
    reply.

handle_message_error(_, _, Error) ->
    io:format("error of a message: ~p~n", [Error]),
    no_reply.

handle_trans_request(Connection, _, Actions) ->
    Replies = [#'ActionReply'{contextId = context(Context), commandReply = [answer(Connection, C) || #'CommandRequest'{command = C} <- Commands]}
               || #'ActionRequest'{contextId = Context, commandRequests = Commands} <- Actions],
    {discard_ack, Replies}.

context(?megaco_choose_context_id) -> erlang:unique_integer([positive]);
context(Context) -> Context.

answer(Connection, {serviceChangeReq, #'ServiceChangeRequest'{terminationID = Id}}) ->
    peer ! {registered, Connection},
    Result = {serviceChangeResParms, #'ServiceChangeResParm'{}},
    {serviceChangeReply, #'ServiceChangeReply'{terminationID = Id, serviceChangeResult = Result}};
answer(_, Command) ->
    perform(Command).

handle_trans_long_request(_, _, _) -> {discard_ack, []}.
handle_trans_reply(_, _, _, _) -> ok.
handle_trans_ack(_, _, _, _) -> ok.
handle_unexpected_trans(_, _, _) -> ok.
handle_trans_request_abort(_, _, _, _) -> ok.
